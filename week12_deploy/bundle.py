"""The folder that an image is built in, and this week's Space is made of: the code that serves, its pinned
requirements, and what is baked in, so that it starts without a network.

    FOLDER/Dockerfile, compose.yaml, .dockerignore
    FOLDER/requirements.txt, requirements-smollm2.txt, constraints.txt
    FOLDER/shared/, week11_rag/, week12_deploy/      programs alone: no lessons, pictures or tests
    FOLDER/baked/week11/                             a run of week 11: documents, index, settings
    FOLDER/baked/week12/                             the exported embedder that was chosen
    FOLDER/models/                                   published networks, where the target needs one
"""

from pathlib import Path
from typing import Literal

from shared import pins
from shared.bundle import code, copy, measured, networks, new, requirements, run_of, write
from shared.files import ROOT, read_json, write_json
from week11_rag import space as week11
from week12_deploy.onnx_embedder import CARD

Target = Literal["service", "smollm2"]
"""The service by itself, or with a language model of torch's."""
EXTRA = "week12"
TO_TRAIN = {"langchain", "matplotlib", "onnx", "onnxscript", "scikit-learn", "sentence-transformers"}
"""Of the extra: what only training, exporting and comparing need."""
OF_TORCH = {"accelerate", "gguf", "torch", "transformers"}
"""Of the extra: what a language model of one's own machine needs."""
CODE = ("shared", "week11_rag", "week12_deploy")
AS_THEY_ARE = {"Dockerfile": "week12_deploy/Dockerfile", "compose.yaml": "week12_deploy/compose.yaml"}
IGNORE = "# The folder holds what the image needs and nothing else.\n**/__pycache__\n**/*.pyc\n.git\n.gitattributes\n"


def week12_run(source: Path, folder: Path) -> str:
    """Copies the exported embedder that was chosen; returns which it is."""
    card = read_json(source / CARD)
    chosen = card["chosen"]
    write_json(folder / CARD, card | {"files": {chosen: card["files"][chosen]}})
    for name in ("tokenizer.json", card["files"][chosen]):
        copy(source / name, folder / name)
    return chosen


def service(folder: Path, run: str = "", model: str = "", target: Target = "service") -> dict[str, int | str]:
    """Writes all that the image of the service is built of.

    Args:
        folder: where to; what we have written there before is replaced.
        run: week 11's run, model: week 12's; default: the newest.
        target: with a language model of its own (smollm2), or without.

    Returns:
        {files, bytes, embedder}.

    Raises:
        CourseError: a run is missing, the folder is somebody else's, or a secret lies in a file.
    """
    ours, exported = run_of(11, run, week11.SOURCES), run_of(12, model, CARD)
    new(folder)
    code(folder, CODE)
    for name, source in AS_THEY_ARE.items():
        copy(ROOT / source, folder / name)
    write(folder / ".dockerignore", IGNORE)
    requirements(folder, EXTRA, TO_TRAIN | OF_TORCH)
    if target == "smollm2":
        write(folder / "requirements-smollm2.txt", "\n".join(pins.lines(EXTRA, TO_TRAIN)) + "\n")
        copy(ROOT / "constraints.txt", folder / "constraints.txt")
        networks(folder, ("smollm2",))
    week11.bake(ours, folder / "baked" / "week11")
    embedder = week12_run(exported, folder / "baked" / "week12")
    return {**measured(folder), "embedder": embedder}
