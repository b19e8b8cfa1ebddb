"""Pretraining as BERT was: words are hidden in much text, and the network learns to say which. `./course run 7 mlm`

    ./course run 7 mlm --fill "the [MASK] of this film was awful."           # what it says before and after
    ./course run 7 mlm --model FOLDER --epochs 0 --fill "…"                  # a published BERT, as it is

A WordPiece vocabulary is learned first, then a small encoder from nothing. What comes out lies in the run's folder
bert/, in the form of published ones.

References
    J. Devlin et al., arXiv:1810.04805, section 3.1 and appendix A.1: masked language modelling, 80/10/10
    Y. Liu et al., "RoBERTa", arXiv:1907.11692, section 4.1: other masks each time a text is seen; no next sentence
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week07_bert/mlm.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import gzip
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import torch
import torch.nn.functional as F
from annotated_types import Gt, Lt
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared import cli, runs, sentence_pairs
from shared.config import Count, Natural, Positive, Share, TrainConfig
from shared.device import Device, autocast, choose
from shared.errors import CourseError
from shared.files import ROOT, no_file
from shared.loop import Loop
from shared.plots import curves
from shared.seed import seed_everything
from week07_bert import encoders
from week07_bert.model import Bert, BertConfig, Ids, MaskedLMHead
from week07_bert.tokenizer import MASK, WordPiece
from week07_bert.train import learning_rate, set_lr
from week07_bert.weights import CONFIG, check_vocabulary, load_pretrained, save_pretrained

WEEK_NUMBER, PROGRAM = 7, "mlm"
REVIEWS = ROOT / "shared" / "samples" / "reviews_5k.jsonl.gz"
IGNORED = -100  # the label of what was not hidden; cross_entropy passes over it
SENTENCES = {
    "sample": ("click the [MASK] button.", "choose file - [MASK].", "opens the [MASK] dialog.",
               "returns the [MASK] of a number.", "the first [MASK] of the table."),
    "reviews": ("this is one of the [MASK] movies i have ever seen.", "the acting is very [MASK].",
                "he plays the role of a young [MASK].", "i don't [MASK] this film to anyone."),
}  # fmt: skip
WORDS = {"sample": ("two", "rows", "insert", "red", "right"), "reviews": ("two", "she", "actor", "good", "awful")}


@dataclass
class Config(TrainConfig):
    """The flags of mlm."""

    data: str = "sample"
    """The text: `sample` (sentences of a program's help), `reviews` (of films; bundled, too, and much harder), or a
    file of your own (.txt or .txt.gz, a text a line; every tenth is kept for val)."""
    model: str = ""
    """A published BERT with its masked-word head, to begin with in place of nothing: bert-base-uncased (from the hub),
    or a folder. Its vocabulary is used, and the flags that shape a network are not."""
    fill: str = ""
    """A sentence of yours with [MASK] in it, to be filled before and after."""
    vocab: Count = 3_000
    """Tokens of the vocabulary. More make whole words of rarer ones, and every guess harder."""
    length: Count = 24
    """Tokens of an example, [CLS] and [SEP] included; longer texts are cut. Less when memory runs out."""
    hidden: Count = 128
    """Numbers that stand for a token."""
    layers: Count = 2
    """Blocks of the encoder."""
    heads: Count = 4
    """Attention heads; they share the hidden numbers."""
    dropout: Share = 0.0
    """What share of numbers is silenced in training. So small a network learns nothing by heart in so short a time."""
    mask_share: Annotated[float, Gt(0), Lt(1)] = 0.15
    """What share of the tokens is chosen to be guessed."""
    epochs: Natural = 10
    """How often each text is seen, each time with other words hidden. 0 trains nothing, and shows what is there."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs)."""
    batch_size: Count = 32
    """Examples per step. Less when memory runs out."""
    lr: Positive = 1.5e-3
    """The largest learning rate (AdamW); it grows to that over the warm-up, and falls in a line to 0."""
    warmup: Share = 0.1
    """What share of the steps is warm-up."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"vocab": 400, "length": 16, "hidden": 16, "heads": 2, "layers": 1, "epochs": 1, "max_steps": 3,
              "batch_size": 8},
    "quick": {},
    "full": {"vocab": 8_000, "length": 128, "hidden": 256, "layers": 4, "epochs": 40},
}  # fmt: skip
FREE = ("device", "fill")  # what --resume may change


# ---------------------------------------------------------------- text, and what is hidden in it


def read(name: str) -> tuple[list[str], list[str]]:
    """The texts to train on and those to validate on.

    Raises:
        CourseError: no such file, not UTF-8, or fewer than ten texts.
    """
    if name == "sample":
        pairs = sentence_pairs.load("sample", most_words=100)
        return pairs.train.sources, pairs.val.sources
    if name == "reviews":
        with gzip.open(REVIEWS, "rt", encoding="utf-8") as file:
            rows = [json.loads(line) for line in file]
        train, val = ([row["text"] for row in rows if row["split"] == part] for part in ("train", "val"))
        return train, val
    path = Path(name).expanduser()
    if not path.is_file():
        raise CourseError(f"--data {name}: {no_file(name)}, nor one of sample, reviews.")
    texts = list(dict.fromkeys(line.strip() for line in sentence_pairs.text_of(path).splitlines() if line.strip()))
    if len(texts) < 10:
        raise CourseError(f"{path}: {len(texts)} lines of text, should be ten or more.")
    return [text for at, text in enumerate(texts) if at % 10], texts[::10]


def examples(texts: Sequence[str], tokenizer: WordPiece, length: int) -> Int[np.ndarray, "N length"]:
    """The texts in pieces of `length` tokens, [CLS] … [SEP], the last one padded. A rest of a few is left out."""
    rows = []
    for text in texts:
        ids, _ = tokenizer.encode(text)
        for start in range(0, len(ids), length - 2):
            piece = ids[start : start + length - 2]
            if start == 0 or len(piece) >= 8:
                padding = [tokenizer.pad_id] * (length - 2 - len(piece))
                rows.append([tokenizer.cls_id, *piece, tokenizer.sep_id, *padding])
    return np.array(rows, dtype=np.int64).reshape(-1, length)


def hide(
    ids: Ids, special: Bool[Tensor, "batch time"], mask_id: int, vocab: int, rng: torch.Generator, share: float = 0.15
) -> tuple[Ids, Ids]:
    """Chooses tokens to be guessed and hides most of them; other ones at each call."""
    # exercise 2: the MLM mask
    # ids (batch, time); special, the same shape, True on [CLS], [SEP] and padding; mask_id, the id of [MASK]; vocab,
    # how many ids there are; rng, a torch.Generator, for torch.rand(…, generator=rng) -> (inputs, labels), both of the
    # shape of ids, which stays as it is. Each token that is not special is chosen with probability share. Of the chosen
    # 80 % become mask_id, 10 % a random id below vocab, and 10 % stay. labels: the true id of each that was chosen, and
    # IGNORED for all others, so that no loss is computed there.
    # hint: one random number from 0 to 1 for each token: chosen are those below share, unless special. A second one
    # decides what becomes of the chosen: below 0.8, from 0.8 to 0.9, above; so none is changed twice.
    # torch.where(condition, this, that) makes a new tensor; torch.randint(vocab, …, generator=rng) draws ids.
    chosen = (torch.rand(ids.shape, generator=rng) < share) & ~special
    dice = torch.rand(ids.shape, generator=rng)
    inputs = torch.where(chosen & (dice < 0.8), mask_id, ids)
    random = torch.randint(vocab, ids.shape, generator=rng)
    inputs = torch.where(chosen & (dice >= 0.8) & (dice < 0.9), random, inputs)
    return inputs, torch.where(chosen, ids, IGNORED)
    # end of exercise 2


class Batches:
    """Rows of examples with something hidden: the same rows and the same `at` always hide the same."""

    def __init__(self, rows: Int[np.ndarray, "N length"], tokenizer: WordPiece, share: float, seed: int) -> None:
        self.rows, self.share, self.seed = torch.from_numpy(rows), share, seed
        self.mask_id, self.vocab, self.pad_id = tokenizer.mask_id, len(tokenizer), tokenizer.pad_id
        self.special = torch.tensor([tokenizer.pad_id, tokenizer.cls_id, tokenizer.sep_id])

    def batch(self, rows: Any, at: int, device: str = "cpu") -> tuple[Ids, Bool[Tensor, "batch time"], Ids]:
        """(inputs, mask, labels) of these rows; `at` is what the hiding is drawn from beside the seed."""
        rng = torch.Generator().manual_seed(self.seed * 1_000_003 + at)
        ids = self.rows[rows]
        inputs, labels = hide(ids, torch.isin(ids, self.special), self.mask_id, self.vocab, rng, self.share)
        return inputs.to(device), (ids != self.pad_id).to(device), labels.to(device)


# ---------------------------------------------------------------- network, training, evaluation


class MaskedLM(nn.Module):
    """Encoder and head."""

    def __init__(self, bert: Bert, head: MaskedLMHead) -> None:
        super().__init__()
        self.bert, self.head = bert, head

    def forward(
        self, ids: Ids, mask: Bool[Tensor, "batch time"] | None, where: Bool[Tensor, "batch time"]
    ) -> Float[Tensor, "chosen vocab"]:
        """The logits at the places where something is to be guessed, and at no others: a seventh of the work."""
        return self.head(self.bert(ids, mask)[where], self.bert.embeddings.word.weight)


def fit(
    cfg: Config, train: Batches, val: Batches, model: MaskedLM, device: Device, run: runs.Run | None = None
) -> Iterator[runs.Row]:
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_accuracy, seconds} after every epoch."""
    model.to(device.name)
    optimizer = torch.optim.AdamW(model.parameters(), cfg.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    scaler = torch.amp.GradScaler(device.name, init_scale=2.0**12, enabled=device.dtype == "float16")
    per_epoch = math.ceil(len(train.rows) / cfg.batch_size)
    steps = min(cfg.max_steps or math.inf, cfg.epochs * per_epoch)
    parts = {"model": model, "optimizer": optimizer, "scaler": scaler}
    with Loop(cfg, run, steps, per_epoch, f"Try --lr {cfg.lr / 3:.2g}.", "pretraining", **parts) as loop:
        for epoch in loop.epochs():
            model.train()
            order = np.random.default_rng([cfg.seed, epoch]).permutation(len(train.rows))
            for rows in loop.batches(np.array_split(order, per_epoch)):
                set_lr(optimizer, cfg.lr * learning_rate(loop.step, steps, cfg.warmup))
                inputs, mask, labels = train.batch(rows, loop.step, device.name)
                optimizer.zero_grad()
                with autocast(device):
                    logits = model(inputs, mask, labels != IGNORED)
                loss = F.cross_entropy(logits.float(), labels[labels != IGNORED])
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
                loop.add(loss)
            yield loop.row(**evaluate(model, val, device.name))


@torch.no_grad()
def evaluate(model: MaskedLM, some: Batches, device: str = "cpu", size: int = 64) -> dict[str, float]:
    """Mean cross-entropy in nats, and the share guessed right, over what is hidden; the same is hidden every time."""
    model.eval()
    loss = right = count = 0
    for start in range(0, len(some.rows), size):
        inputs, mask, labels = some.batch(slice(start, start + size), start, device)
        where = labels != IGNORED
        logits, truth = model(inputs, mask, where), labels[where]
        loss += F.cross_entropy(logits, truth, reduction="sum").item()
        right += int((logits.argmax(dim=1) == truth).sum())
        count += len(truth)
    return {"loss": loss / count, "accuracy": right / count}


def unigram(train: Batches, val: Batches, size: int = 64) -> dict[str, Any]:
    """The baseline that reads nothing: each token as probable as it is frequent in train, and the commonest always."""
    ids = train.rows[~torch.isin(train.rows, train.special)]
    counts = torch.bincount(ids, minlength=train.vocab) + 1.0  # one more of each: none is impossible
    labels = torch.cat([val.batch(slice(at, at + size), at)[2] for at in range(0, len(val.rows), size)])
    truth = labels[labels != IGNORED]
    return {
        "name": "unigram (the commonest token)", "params": 0, "seconds": 0.0,
        "val_loss": -(counts / counts.sum()).log()[truth].mean().item(),
        "val_accuracy": (truth == counts.argmax()).float().mean().item(),
    }  # fmt: skip


# ---------------------------------------------------------------- what it knows


def around_masks(text: str) -> list[str]:
    """What stands before, between and behind the [MASK]s of a text; CourseError where there is none."""
    if MASK not in text:
        raise CourseError(f"--fill {text!r}: there is no {MASK} in it.")
    return text.split(MASK)


def ids_with_masks(text: str, tokenizer: WordPiece) -> list[int]:
    """[CLS] text [SEP], where "[MASK]" in the text is the token."""
    ids = [tokenizer.cls_id]
    for at, part in enumerate(around_masks(text)):
        ids += [tokenizer.mask_id] * (at > 0) + tokenizer.encode(part)[0]
    return [*ids, tokenizer.sep_id]


@torch.no_grad()
def fill(text: str, model: MaskedLM, tokenizer: WordPiece, most: int = 5) -> list[list[tuple[str, float]]]:
    """Of each [MASK] in the text the likeliest tokens with their probabilities."""
    device = next(model.parameters()).device
    ids = torch.tensor([ids_with_masks(text, tokenizer)], device=device)
    probabilities, tokens = model.eval()(ids, None, ids == tokenizer.mask_id).softmax(dim=-1).topk(most)
    return [
        [(tokenizer.tokens[token], value) for token, value in zip(*pair, strict=True)]
        for pair in zip(tokens.tolist(), probabilities.tolist(), strict=True)
    ]


@torch.no_grad()
def neighbours(word: str, bert: Bert, tokenizer: WordPiece, most: int = 5) -> list[tuple[str, float]]:
    """The whole words whose vectors in the table of embeddings point most nearly the same way, with the cosine."""
    table = F.normalize(bert.embeddings.word.weight[: len(tokenizer)], dim=1)
    cosines = table @ table[tokenizer.vocab[word]]
    found = [(tokenizer.tokens[at], cosines[at].item()) for at in cosines.argsort(descending=True).tolist()]
    return [(token, cosine) for token, cosine in found if token.isalpha() and len(token) > 1 and token != word][:most]


def known(cfg: Config, model: MaskedLM, tokenizer: WordPiece) -> dict[str, dict[str, str]]:
    """What it fills in and which words are alike for it, as lines to be shown."""
    sentences = [cfg.fill] if cfg.fill else SENTENCES.get(cfg.data, SENTENCES["sample"])
    filled = {}
    for text in sentences:
        for at, tokens in enumerate(fill(text, model, tokenizer), 1):
            name = text if text.count(MASK) == 1 else f"{text} ({at})"
            filled[name] = "   ".join(f"{token} {probability:.0%}" for token, probability in tokens)
    alike = {}
    for word in WORDS.get(cfg.data, WORDS["sample"]):
        if word in tokenizer.vocab:
            alike[word] = "   ".join(
                f"{token} {cosine:.2f}" for token, cosine in neighbours(word, model.bert, tokenizer)
            )
    return {"filled": filled, "alike": alike}


def show(before: dict[str, dict[str, str]], after: dict[str, dict[str, str]] | None = None) -> None:
    """Both, one under the other."""
    for kind, title in (("filled", "what it fills in"), ("alike", "nearest neighbours among the embeddings")):
        print(f"\n{title}")
        for name, line in before[kind].items():
            print(f"  {name}\n    {'before  ' * bool(after)}{line}")
            if after:
                print(f"    after   {after[kind][name]}")


# ---------------------------------------------------------------- the program


def begin_with(cfg: Config, texts: Sequence[str]) -> tuple[MaskedLM, WordPiece]:
    """The network and its tokenizer: new ones for these texts, or those of --model."""
    seed_everything(cfg.seed)
    if not cfg.model:
        tokenizer = WordPiece.train(texts, cfg.vocab)
        config = BertConfig(len(tokenizer), cfg.hidden, cfg.layers, cfg.heads, 4 * cfg.hidden,
                            max(512, cfg.length), dropout=cfg.dropout, pad_id=tokenizer.pad_id)  # fmt: skip
        return MaskedLM(Bert(config), MaskedLMHead(config)), tokenizer
    folder = encoders.folder_of(cfg.model)
    config = BertConfig.from_json(folder / CONFIG)
    head, tokenizer = MaskedLMHead(config), encoders.read_tokenizer(folder)
    model = MaskedLM(load_pretrained(folder, head), head)
    check_vocabulary(config, tokenizer)
    return model, tokenizer


def main(cfg: Config) -> dict[str, Any]:
    """Pretrains a small BERT on masked words, beside a unigram baseline, and shows what it knows before and after.

    Returns what result.json holds; the run folder is under the key "run".
    """
    device = choose(cfg.device)
    if cfg.fill:
        around_masks(cfg.fill)  # refused before a vocabulary is learned
    texts, val_texts = read(cfg.data)
    model, tokenizer = begin_with(cfg, texts)
    params = sum(one.numel() for one in model.parameters())
    train, val = (
        Batches(examples(some, tokenizer, cfg.length), tokenizer, share, seed)
        for some, share, seed in ((texts, cfg.mask_share, cfg.seed), (val_texts, 0.15, 0))  # val: always the same
    )
    print(f"{cfg.data}: {len(texts):,} texts, {len(train.rows):,} examples of {cfg.length} tokens to train on, "
          f"{len(val.rows):,} to validate; vocabulary: {len(tokenizer):,}\n"
          f"network: {params:,} parameters. Device: {device}")  # fmt: skip
    before, baseline = known(cfg, model, tokenizer), unigram(train, val)
    if not cfg.epochs:
        show(before)
        return evaluate(model.to(device.name), val, device.name)
    run = runs.begin(WEEK_NUMBER, cfg, FREE, PROGRAM)
    if (run.folder / "result.json").is_file():
        raise run.finished("start a new run.")
    with run.log() as log:
        for row in fit(cfg, train, val, model, device, run):
            log(row)
    last = run.rows[-1]
    metrics = {"val_loss": last["val_loss"], "val_accuracy": last["val_accuracy"]}
    result = run.record(metrics, device, params, last["seconds"], [baseline])
    for metric in ("val_accuracy", "val_loss"):
        runs.print_table(result, metric)
    show(before, known(cfg, model, tokenizer))
    save_pretrained(run.folder / "bert", model.bert, tokenizer, model.head)
    curves(run.folder / "curves.png", run.rows, "val_accuracy")
    print(f"\nrun folder: {run.folder}")
    return result | {"run": str(run.folder)}


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
