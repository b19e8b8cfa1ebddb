"""Published encoders by name: MiniLM, which comes in a package; others of the hub; or a folder of one's own."""

from pathlib import Path

from shared import models
from shared.errors import CourseError
from week07_bert.model import Bert
from week07_bert.tokenizer import WordPiece
from week07_bert.weights import CONFIG, VOCABULARY, WEIGHTS, check_vocabulary, load_pretrained

HUB = {
    "distilbert-base-uncased": "distilbert/distilbert-base-uncased",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-base-cased": "google-bert/bert-base-cased",
}


def folder_of(name: str) -> Path:
    """The folder with config.json, vocab.txt and model.safetensors of an encoder.

    Raises:
        CourseError: it is neither known nor a folder, or the hub does not answer.
    """
    if name == "minilm":
        return models.fetch(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name not in HUB:
        known = ", ".join(["minilm", *HUB])
        raise CourseError(f"--model {name}: no such folder, nor one of {known}.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(HUB[name], allow_patterns=[CONFIG, VOCABULARY, WEIGHTS, "tokenizer_config.json"]))
    except Exception as error:  # whatever a library of the network raises where there is none
        raise CourseError(
            f"--model {name}: the hub does not answer ({type(error).__name__}). Fetch {CONFIG}, {VOCABULARY} and "
            f"{WEIGHTS} by hand, and give their folder as --model FOLDER."
        ) from None


def load(name: str) -> tuple[Bert, WordPiece]:
    """An encoder and its tokenizer, which is held against it."""
    folder = folder_of(name)
    bert, tokenizer = load_pretrained(folder), read_tokenizer(folder)
    check_vocabulary(bert.config, tokenizer)
    return bert, tokenizer


def read_tokenizer(folder: Path) -> WordPiece:
    """The tokenizer of a folder; with capitals where its tokenizer_config.json, or its name, says so."""
    from shared.files import read_json

    about = folder / "tokenizer_config.json"
    said = read_json(about) if about.is_file() else {}
    lowercase = said.get("do_lower_case", "-cased" not in folder.name) if isinstance(said, dict) else True
    return WordPiece.from_file(folder / VOCABULARY, bool(lowercase))
