"""Texts as vectors: a published sentence encoder, the mean of its last layer over the tokens, unit length.

References
    N. Reimers, I. Gurevych, "Sentence-BERT", arXiv:1908.10084, section 3: the mean over the tokens
    O. Khattab, M. Zaharia, "ColBERT", arXiv:2004.12832, section 3.2: a vector for each token, kept for late interaction
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float32

from shared import models
from shared.errors import CourseError
from shared.files import read_json

RECENT = 1_000  # questions whose vectors are kept
FILES = ["config.json", "tokenizer.json", "model.safetensors", "*.json", "1_Pooling/*"]


@runtime_checkable
class Encoder(Protocol):
    """What a search needs of an embedder; late re-scoring needs `encode_tokens`, too."""

    name: str
    dimension: int

    def encode(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]: ...


class Embedder:
    """A sentence encoder.

    Attributes:
        name: as it was given: `minilm`, a name of the hub, or a folder.
        dimension: numbers of a vector.
        longest: tokens that it reads of a text, the two special ones included; what is beyond is cut off.
    """

    def __init__(self, model: str | Path = "minilm", device: str = "auto", batch: int = 16) -> None:
        from shared.chat_models import quiet
        from shared.device import choose

        self.name, self.batch = str(model), batch
        folder = folder_of(self.name)
        self.pooling = pooling_of(folder)
        self.device = choose(device)
        with quiet():
            self.model, self.tokenizer = load(folder, self.name)
        self.model.to(self.device.name).eval()
        config = self.model.config
        self.dimension = int(config.hidden_size)
        about = folder / "sentence_bert_config.json"
        said = read_json(about).get("max_seq_length") if about.is_file() else None
        self.longest = int(said or min(512, getattr(config, "max_position_embeddings", 512)))
        self.tokenizer.no_padding()
        self.tokenizer.enable_truncation(self.longest)
        self.pad = int(getattr(config, "pad_token_id", 0) or 0)
        self._recent: dict[str, Any] = {}

    def encode(self, texts: Sequence[str]) -> Float32[np.ndarray, "texts dim"]:
        """A row of unit length for each text, in their order. Texts of about the same length share a batch.

        A text that comes alone is a question, as a rule, which the search wants, and the support, and the reader: the
        vectors of the last ones are kept.
        """
        if len(texts) == 1 and (recent := self._recent.get(texts[0])) is not None:
            return recent.copy()
        once = list(dict.fromkeys(texts))  # sentences that chunks overlap with are there twice
        if len(once) < len(texts):
            place = {text: row for row, text in enumerate(once)}
            return self.encode(once)[[place[text] for text in texts]]
        found = np.zeros((len(texts), self.dimension), np.float32)
        for rows, hidden, mask in self.hidden(texts):
            if self.pooling == "cls":
                pooled = hidden[:, 0]
            else:
                weight = mask.unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * weight).sum(1) / weight.sum(1)  # (batch, dim)
            found[rows] = pooled.cpu().numpy()
        found = unit(found)
        if len(texts) == 1:
            while len(self._recent) >= RECENT:
                self._recent.pop(next(iter(self._recent)), None)
            self._recent[texts[0]] = found.copy()
        return found

    def forget(self) -> None:
        """Drops the vectors of the last questions, to measure how long one takes."""
        self._recent.clear()

    def encode_tokens(self, texts: Sequence[str]) -> list[Float32[np.ndarray, "tokens dim"]]:
        """For each text a row of unit length for each of its tokens, without the special ones."""
        found: list[Any] = [None] * len(texts)
        for rows, hidden, mask in self.hidden(texts):
            for row, vectors, count in zip(rows, hidden.cpu().numpy(), mask.sum(1).tolist(), strict=True):
                found[row] = unit(vectors[1 : count - 1])
        return found

    def hidden(self, texts: Sequence[str]) -> Iterator[tuple[list[int], Any, Any]]:
        """(rows, last layer (batch, tokens, dim), mask (batch, tokens)) of batches of about equal length."""
        import torch

        ids = [one.ids for one in self.tokenizer.encode_batch(list(texts))]
        order = sorted(
            range(len(ids)), key=lambda row: -len(ids[row])
        )  # the longest first: what does not fit, fails at once
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            longest = len(ids[rows[0]])
            batch = torch.full((len(rows), longest), self.pad)
            mask = torch.zeros((len(rows), longest), dtype=torch.long)
            for at, row in enumerate(rows):
                batch[at, : len(ids[row])] = torch.tensor(ids[row])
                mask[at, : len(ids[row])] = 1
            batch, mask = batch.to(self.device.name), mask.to(self.device.name)
            with torch.inference_mode():
                yield rows, self.model(input_ids=batch, attention_mask=mask).last_hidden_state.float(), mask

    def count(self, text: str) -> int:
        """How many tokens a text has, without the special ones; of a longer one than it reads, too."""
        encoded = self.tokenizer.encode(text, add_special_tokens=False)
        return len(encoded.ids) + sum(len(more.ids) for more in encoded.overflowing)


def unit(vectors: Float32[np.ndarray, "rows dim"]) -> Float32[np.ndarray, "rows dim"]:
    """The rows with length 1; a row of zeros stays one."""
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def folder_of(name: str, flag: str = "--embedder ", bundled: str = "minilm, ") -> Path:
    """The folder of an encoder; `bundled` is what there is of that kind without a network, for whoever asks in vain.

    Raises:
        CourseError: it is neither `minilm` nor a folder, and the hub does not have it, or does not answer.
    """
    if name in models.MODELS:
        return models.fetch(name)
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if name.startswith((".", "/", "~")) or name.count("/") != 1:
        raise CourseError(f"{flag}{name}: no such folder. Give {bundled}a folder, or a name of the hub (user/name).")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # whatever a library of the network raises where there is none
        raise CourseError(
            f"{flag}{name}: the hub does not answer, or has it not ({type(error).__name__}). Fetch its files by hand, "
            "and give their folder."
        ) from None


def load(folder: Path, name: str) -> tuple[Any, Any]:
    """The network and the tokenizer of a folder."""
    from tokenizers import Tokenizer
    from transformers import AutoModel

    if not (folder / "tokenizer.json").is_file() or not (folder / "config.json").is_file():
        raise CourseError(f"--embedder {name}: {folder} has no tokenizer.json or no config.json; is it an encoder?")
    try:
        options = {"add_pooling_layer": False} if read_json(folder / "config.json").get("model_type") == "bert" else {}
        network = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, **options)
        return network, Tokenizer.from_file(str(folder / "tokenizer.json"))
    except Exception as error:  # a damaged file raises what its library likes
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CourseError(f"--embedder {name}: {folder} is no encoder that loads ({reason}).") from None


def pooling_of(folder: Path) -> str:
    """mean or cls, as the folder says.

    Raises:
        CourseError: it is another one, or more than that follows the encoder.
    """
    steps = read_json(folder / "modules.json") if (folder / "modules.json").is_file() else []
    more = [one["type"] for one in steps if not one["type"].endswith(("Transformer", "Pooling", "Normalize"))]
    about = folder / "1_Pooling" / "config.json"
    said = read_json(about) if about.is_file() else {"pooling_mode_mean_tokens": True}
    on = [
        name.removeprefix("pooling_mode_") for name, value in said.items() if name.startswith("pooling_mode_") and value
    ]
    if more or on not in (["mean_tokens"], ["cls_token"]):
        raise CourseError(f"{folder}: we pool by the mean or by [CLS], not by {', '.join([*on, *more])}.")
    return "cls" if on == ["cls_token"] else "mean"
