"""What tests of programs share: configs as typed, refusals, gradients, what a run has left."""

import importlib
import os
import subprocess
import sys
import textwrap
import zlib
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from shared import cli, runs
from shared.errors import CourseError
from shared.files import ROOT


class Lazily:
    """A module, imported at its first use: by a test, and not by every process that collects it.

    For what takes seconds to import, as what stands on Lightning.
    """

    def __init__(self, name: str) -> None:
        vars(self)["name"] = name

    def __getattr__(self, attribute):
        if attribute.startswith("_") or "pytest" in attribute:  # asked of whatever stands in a file of tests
            raise AttributeError(attribute)
        return getattr(importlib.import_module(vars(self)["name"]), attribute)


def config(program, *flags):
    """What `./course train N FLAGS` (or another program, a module) runs with."""
    week = getattr(program, "WEEK_NUMBER", None)
    return cli.parse(program.Config, getattr(program, "PRESETS", None), list(map(str, flags)), week=week)


def refused(call, *arguments) -> str:
    """The one line that call(*arguments) is refused with."""
    with pytest.raises(CourseError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def refused_flags(program, *flags) -> str:
    """The one line that these flags of a program are refused with, before it does anything."""
    return refused(config, program, *flags)


def close(found, expected, what: str, tolerance: float = 1e-5) -> None:
    """Passes where `found` equals `expected`, arrays or tensors, up to `tolerance` of the largest number; else fails
    with one line: what is, and what should be."""
    if type(found).__module__.partition(".")[0] not in ("numpy", "torch") and not isinstance(found, int | float):
        missing = ": is `return` missing?" if found is None else ""
        raise AssertionError(f"{what} is {found!r:.40}, should be numbers{missing}")
    found, expected = (np.asarray(x.detach().cpu() if hasattr(x, "detach") else x, float) for x in (found, expected))
    if found.shape != expected.shape:
        raise AssertionError(f"{what} has the shape {found.shape}, should be {expected.shape}")
    if not np.isfinite(found).all():
        raise AssertionError(f"{what} has NaN or inf in it, should be finite")
    bound = tolerance * max(1.0, np.abs(expected).max(initial=0))
    wrong = np.argwhere(np.abs(found - expected) > bound)
    if not len(wrong):
        return
    if found.size > 1 and not found.any():
        raise AssertionError(f"{what} is 0 everywhere, should be as {expected.flat[np.abs(expected).argmax()]:.4g}")
    ratio = found[np.abs(expected) > bound] / expected[np.abs(expected) > bound]
    if len(ratio) > 3 and np.ptp(ratio) < 1e-3 * abs(ratio.mean()) and abs(ratio.mean() - 1) > 0.01:
        raise AssertionError(f"{what} is {ratio.mean():.4g} times what it should be, everywhere")
    at = tuple(map(int, wrong[0]))
    where = str(list(at)) * (found.ndim > 0)
    what = what.rstrip(",") if where else what
    digits = next(d for d in (4, 6, 8, 17) if f"{found[at]:.{d}g}" != f"{expected[at]:.{d}g}")
    many = f" ({len(wrong)} of {found.size} numbers are off)" * (found.size > 1)
    raise AssertionError(f"{what}{where} is {found[at]:.{digits}g}, should be {expected[at]:.{digits}g}{many}")


def started(module: str, *flags, **environment) -> subprocess.CompletedProcess:
    """`python -m module flags` as a process of its own, with one thread."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1", "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "-P", "-m", module, *map(str, flags)]
    return subprocess.run(command, env=env, capture_output=True, encoding="utf-8")


def assert_picture(path: Path, side: int = 200) -> None:
    """The file is a PNG of some size with something on it."""
    from PIL import Image

    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG" and min(image.size) > side
        assert len(image.convert("RGB").getcolors(1_000_000)) > 10, f"{path} is next to empty"


def rows(folder: Path) -> list[dict]:
    """A run's log without the seconds."""
    from shared.progress import read_metrics

    return runs.without_seconds(read_metrics(Path(folder) / "metrics.jsonl"))


def tensors(path: Path) -> dict[str, bytes]:
    """{name: bytes} of everything in a safetensors file."""
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name).tobytes() for name in file.keys()}  # noqa: SIM118


def gradients(function, *inputs, seed: int = 0):
    """The output of function(*inputs), and the gradients of the inputs that want one, under a random upstream gradient.

    A sum's upstream gradient is all ones: under it the gradient of a softmax is 0, and many a wrong one looks right.
    """
    import torch

    output = function(*inputs)
    first = output if isinstance(output, torch.Tensor) else output[0]
    upstream = torch.randn(first.shape, generator=torch.Generator().manual_seed(seed), dtype=first.dtype)
    wanted = [x for x in inputs if isinstance(x, torch.Tensor) and x.requires_grad]
    return output, torch.autograd.grad(first, wanted, upstream.to(first.device), allow_unused=True)


def tiny_encoder(folder: Path, texts, layers: int = 1, width: int = 32, seed: int = 0) -> Path:
    """A sentence encoder of one small layer with random weights that knows the words of these texts, in a folder as
    published ones are."""
    import re

    import torch
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import BertConfig, BertModel

    words = sorted({word for text in texts for word in re.findall(r"\w+|[^\w\s]", text.lower())})
    names = {token: number for number, token in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(names, "[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    torch.manual_seed(seed)
    shape = {"hidden_size": width, "intermediate_size": 2 * width, "num_attention_heads": 2}
    config = BertConfig(
        vocab_size=len(names), num_hidden_layers=layers, max_position_embeddings=128, initializer_range=0.1, **shape
    )
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


COLOURS = ("red", "blue", "green", "white")
FILLERS = (
    "the",
    "a",
    "old",
    "new",
    "house",
    "river",
    "small",
    "tall",
    "wall",
    "near",
    "under",
    "stone",
    "bird",
    "sees",
)
ASKED = ("which", "colour", "has", "it", "?", ".")


def word_embedder():
    """An embedder of words, without a network: each has a place, and a text points where its words do."""
    from week11_rag.embed import Embedder

    class Words(Embedder):
        name, dimension, longest = "stub", 64, 512

        def __init__(self):
            pass

        def encode(self, texts):
            rows = np.zeros((len(texts), self.dimension), np.float32)
            for row, text in zip(rows, texts, strict=True):
                for word in text.casefold().replace(".", " ").replace("?", " ").split():
                    row[zlib.crc32(word.encode()) % self.dimension] += 1
            return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)

        def count(self, text):
            return len(text.split())

    return Words()


def squad(count: int, seed: int = 0) -> dict:
    """So many questions as SQuAD has them, each on a passage of ten words of which one is a colour, the answer."""
    rng, articles = np.random.default_rng(seed), []
    for number in range(count):
        words = [*rng.choice(FILLERS[2:], 10)]
        place, colour = int(rng.integers(1, 9)), COLOURS[rng.integers(4)].title()
        words[place] = colour
        context = f"{' '.join(words)} ."
        answers = [{"text": colour, "answer_start": len(" ".join(words[:place])) + 1}]
        asked = [{"id": f"q{number}", "question": "Which colour has it?", "answers": answers}]
        articles.append({"title": f"article {number}", "paragraphs": [{"context": context, "qas": asked}]})
    return {"version": "1.1", "data": articles}


def tiny_bert(folder: Path, layers: int = 2, seed: int = 0):
    """An encoder of two layers with random weights that knows the words of `squad`, in a folder as published ones are.

    Returns it and its tokenizer.
    """
    import torch

    from week07_bert.model import Bert, BertConfig
    from week07_bert.tokenizer import SPECIAL, WordPiece
    from week07_bert.weights import save_pretrained

    torch.manual_seed(seed)
    letters = [chr(code) for code in range(97, 123)]
    tokens = [*SPECIAL, *dict.fromkeys([*COLOURS, *FILLERS, *ASKED, *letters]), *(f"##{letter}" for letter in letters)]
    tokenizer = WordPiece(tokens)
    shape = {"hidden_size": 16, "layers": layers, "heads": 2, "intermediate_size": 32, "max_positions": 64}
    bert = Bert(BertConfig(vocab_size=len(tokenizer), **shape))
    folder.mkdir(parents=True, exist_ok=True)
    save_pretrained(folder, bert, tokenizer)
    return bert, tokenizer


TEMPLATE = """{% for message in messages %}<|{{ message['role'] }}|>
{{ message['content'] }}<|end|>
{% endfor %}{% if add_generation_prompt %}<|assistant|>
{% endif %}"""


def tiny_llama(folder: Path, layers: int = 2, seed: int = 0) -> Path:
    """A Llama of two small layers with random weights, its tokenizer of single bytes and a chat template, in a folder
    as published ones are. Its end token is `<|end|>`, which pads, too."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
    names = {token: number for number, token in enumerate([*special, *sorted(pre_tokenizers.ByteLevel.alphabet())])}
    made = Tokenizer(models.BPE(vocab=names, merges=[]))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=made, eos_token="<|end|>", additional_special_tokens=special[1:], chat_template=TEMPLATE
    )
    torch.manual_seed(seed)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = LlamaConfig(
        vocab_size=len(names), num_hidden_layers=layers, max_position_embeddings=512, tie_word_embeddings=True,
        initializer_range=0.2, eos_token_id=0, bos_token_id=None, pad_token_id=None, **shape,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sums(path: Path, count: int) -> Path:
    """So many questions for an agent: three sums, told apart by their first number, and what nobody can know."""
    import json

    lines = []
    for number in range(count):
        left = (1, 4, 7, 0)[number % 4]
        row = {"question": f"{left}+1? {number}", "answer": str(left + 1), "calls": [f"calculator[{left}+1]"]}
        row = row if left else {"question": f"Who is {number}?", "answer": "I cannot tell."}
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def instructions(path: Path, count: int) -> Path:
    """So many instructions of one's own, to say a colour in a word of one's own and a number that none other has."""
    import json

    lines = []
    for number in range(count):
        colour = COLOURS[number % len(COLOURS)]
        row = {"instruction": f"Say {colour}", "input": str(number), "output": f"it is {colour} now"}
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


def photos(folder: Path, count: int) -> Path:
    """So many pictures of one's own, of one colour each, with captions that tell it and a number."""
    from PIL import Image

    colours = {"red": (230, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 230), "white": (250, 250, 250),
               "black": (9, 9, 9), "yellow": (240, 230, 20)}  # fmt: skip
    folder.mkdir(exist_ok=True)
    lines = ["image,caption\n"]
    for number in range(count):
        name = list(colours)[number % len(colours)]
        picture = Image.new("RGB", (24, 24), colours[name])
        picture.putpixel((number % 24, number // 24), (128, 128, 128))  # so that no two are the same
        picture.save(folder / f"{number}.png")
        lines.append(f"{number}.png,a {name} card with the number {number}\n")
    (folder / "captions.csv").write_text("".join(lines), encoding="utf-8")
    return folder


def preferences(path: Path, count: int) -> Path:
    """So many pairs of one's own: what is asked differs, and the better answer says please."""
    import json

    lines = []
    for number in range(count):
        colour = COLOURS[number % len(COLOURS)]
        row = {"prompt": f"Say {colour} {number}", "chosen": f"{colour} please", "rejected": f"no {colour}"}
        lines.append(json.dumps(row) + "\n")
    path.write_text("".join(lines), encoding="utf-8")
    return path


@cache
def handbook():
    """The first 32 pages of week 11's handbook, read once (in seconds) by each process that tests with them."""
    from week11_rag import data, pdf

    return pdf.read(data.HANDBOOK, first=32)


def write_pdf(path, pages):
    """A PDF of Helvetica: a page for each list of (size in points, text), from the top down, a text a line.

    Long texts are broken into lines of some 90 characters; a line of its own begins lower than a broken one.
    """
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for lines in pages:
        said, top = ["BT"], 760.0
        for size, text in lines:
            for part in textwrap.wrap(text, max(10, int(900 / size))):
                escaped = part.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
                said.append(f"/F1 {size} Tf 1 0 0 1 72 {top:.1f} Tm ({escaped}) Tj")
                top -= 1.2 * size
            top -= size
        stream = "\n".join([*said, "ET"])
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {len(objects) + 2} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(kids)} >>"
    body, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, 1):
        places.append(len(body))
        body += f"{number} 0 obj\n{one}\nendobj\n".encode("latin-1")
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    end = (
        f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\n"
    )
    path.write_bytes(body + f"{end}startxref\n{len(body)}\n%%EOF\n".encode())
    return path
