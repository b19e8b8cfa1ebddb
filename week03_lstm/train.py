"""Trains a classifier of reviews: `./course train 3`, or `python -m week03_lstm.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week03_lstm/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge

from shared import cli, runs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.device import Device, autocast, choose
from shared.loop import Loop
from shared.seed import seed_everything
from shared.terminal import mine
from week03_lstm import data, sentiment_baselines
from week03_lstm.sentiment_baselines import CNN

# torch takes seconds to import: what needs it is imported inside the functions, so that --help comes at once.

WEEK_NUMBER = 3


@dataclass
class Config(TrainConfig):
    """The flags of week 3. --data also takes imdb, a folder in its layout, or a .csv or .jsonl[.gz] of your own."""

    text: str = "text"
    """The column of your own file that holds the review."""
    label: str = "label"
    """The column that holds 0 or 1, negative or positive."""
    kind: Literal["lstm", "gru", "rnn", "cnn"] = "lstm"
    """What reads: a recurrent network, or cnn, the 1-D convolution that is as large as the lstm of the other flags; it
    wants --lr 0.003 and --embed-dropout 0."""
    impl: Literal["torch", "scratch"] = "torch"
    """torch (torch.nn's layers, faster) or scratch (model.py's: the same numbers, every line to be read)."""
    embed: Count = 100
    """Numbers per word. Most of the parameters are here; lower it, or --vocab, when memory runs out."""
    hidden: Count = 64
    """Units of the state, per direction. Time grows with its square."""
    layers: Count = 1
    """Recurrent layers on top of each other."""
    bidirectional: bool = False
    """Reads backwards as well. Twice the time; and then no word-by-word verdict is a running one."""
    pool: Literal["last", "max", "mean"] = "mean"
    """What the verdict is made from: the last state, each unit's max over the review, or its mean.
    With last the gradient has to travel through the whole review; with max and mean it has short ways."""
    dropout: Share = 0.5
    """Dropped in training between the layers and before the verdict."""
    embed_dropout: Share = 0.3
    """Dropped in training of the words' vectors."""
    word_dropout: Share = 0.0
    """Words that become unknown in training. Nothing may depend on a single one."""
    vocab: Annotated[int, Ge(3)] = 20_000
    """Words to know, with the two that stand for padding and for all the rarer ones, <unk>."""
    max_len: Count = 300
    """Words read of a review. Of a longer one the end is kept, where the verdict stands. Time grows with it."""
    batch_size: Count = 32
    """Reviews per step. Smaller: more steps an epoch; larger: faster an epoch, wants a larger lr and more memory."""
    epochs: Count = 4
    """How often each review is read."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    lr: Positive = 0.01
    """The size of a step of Adam. Too small: slow. Too large: the loss jumps and stays at 0.69, a coin's."""
    schedule: Literal["cosine", "constant"] = "cosine"
    """cosine (warm up, then fall to zero) or constant."""
    clip: NonNegative = 1.0
    """Longest gradient, as the norm over all parameters; longer ones are shortened. 0: none, and one review can undo
    what many have taught."""
    weight_decay: NonNegative = 0.0
    """Pulls every weight towards zero (AdamW)."""
    bucket: bool = True
    """Batches reviews of about the same length. --no-bucket: blindly, so that a third of a batch is padding."""
    peer: bool = True
    """Also trains the convolution of equal size, to compare with. --no-peer: half the time."""
    peer_lr: Positive = 0.003
    """The size of the convolution's steps: those that suit an LSTM are too large for it."""
    threads: Natural = 1
    """CPU threads (0: as many as torch takes). A step's matrices are small: a second thread gains little, and waits for
    the first most of the time. With another number results differ in the last digits."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {
        "embed": 32, "hidden": 32, "vocab": 5000, "max_len": 60, "dropout": 0.2, "embed_dropout": 0.0,
    },
    "quick": {},
    "full": {
        "data": "imdb", "embed": 128, "hidden": 128, "bidirectional": True, "pool": "max", "dropout": 0.5,
        "embed_dropout": 0.5, "word_dropout": 0.3, "vocab": 30_000, "max_len": 400, "lr": 0.0015, "epochs": 6,
    },
}  # fmt: skip
# What --resume may change: how long and in what steps it goes on, and where it computes.
FREE = ("epochs", "max_steps", "lr", "schedule", "clip", "device", "threads")


def build(cfg: Config, words: int):
    """The classifier of a config for a vocabulary of so many words, with weights drawn from its seed."""
    from week03_lstm import sentiment_model

    seed_everything(cfg.seed)
    known = {one.name for one in fields(sentiment_model.SentimentConfig)} & {one.name for one in fields(cfg)}
    shape = {name: getattr(cfg, name) for name in known - {"vocab"}}
    return sentiment_model.build(sentiment_model.SentimentConfig(vocab=words, **shape))


def predict(model, part: data.Encoded, size: int = 100) -> np.ndarray:
    """The probabilities (N, classes) of each text's classes: in evaluation mode, in fp32, on the model's device."""
    import torch

    device = next(model.parameters()).device
    probs = np.zeros((len(part), model.config.classes))
    model.eval()
    with torch.no_grad():
        for rows in data.batch_rows(part.lengths, size, None):
            tokens, real = data.padded([part.ids[row] for row in rows], part.max_len)
            logits = model(torch.from_numpy(tokens).to(device), torch.from_numpy(real).to(device))
            probs[rows] = logits.double().softmax(dim=1).cpu().numpy()
    return probs


def score(probs: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean loss (nats) and accuracy of probabilities (N, classes) for labels (N,)."""
    right = probs[np.arange(len(labels)), labels]
    with np.errstate(divide="ignore"):
        loss = float(-np.log(right).mean())
    return {"loss": loss, "accuracy": float((probs.argmax(axis=1) == labels).mean())}


def evaluate(model, part: data.Encoded) -> dict[str, float]:
    """Mean loss and accuracy of the model on a part."""
    return score(predict(model, part), part.labels)


def learning_rate(step: int, steps: int, peak: float, schedule: str = "cosine") -> float:
    """What step number `step` is to have: up to `peak` in the first twentieth, then down a cosine; or constant."""
    if schedule == "constant":
        return peak
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return peak * (step + 1) / warm_up
    return peak * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def set_lr(optimizer, lr: float) -> None:
    """The learning rate of the next step, for all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def fit(
    cfg: Config, train: data.Encoded, val: data.Encoded, model, device: Device, run: runs.Run | None = None,
    peer: bool = False,
) -> Iterator[runs.Row]:  # fmt: skip
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_accuracy, seconds} after every epoch.

    Args:
        cfg: how to train.
        train, val: trained on the one, and looked at the other after every epoch.
        model: changed in place; on the device already.
        device: where to compute, and in which number format.
        run: where the state is kept, and which is gone on with; None keeps nothing.
        peer: this is the convolution beside it: how its bar is called, and its flag.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    import torch
    from torch.nn import functional as F

    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)
    # fp16 cannot hold small gradients, so there the loss is multiplied, and the gradients divided again. Else it rests.
    scaler = torch.amp.GradScaler(device.name, enabled=device.dtype == "float16")
    per_epoch = math.ceil(len(train) / cfg.batch_size)
    steps, lengths = cfg.max_steps or cfg.epochs * per_epoch, train.lengths

    # A Loop only keeps count: it restores and saves these three, passes over what is done, and hears Ctrl-C.
    parts = {"model": model, "optimizer": optimizer, "scaler": scaler}
    label, advice = f"baseline: {CNN}" if peer else "training", too_large(cfg, "--peer-lr" if peer else "--lr")
    with Loop(cfg, run, steps, per_epoch, advice, label, **parts) as loop:
        for epoch in loop.epochs():
            model.train()
            rng = np.random.default_rng([cfg.seed, epoch])
            for rows in loop.batches(data.batch_rows(lengths, cfg.batch_size, rng, cfg.bucket)):
                set_lr(optimizer, learning_rate(loop.step, steps, cfg.lr, cfg.schedule))
                batch = *data.padded([train.ids[row] for row in rows], cfg.max_len), train.labels[rows]
                tokens, real, labels = (torch.from_numpy(array).to(device.name) for array in batch)
                optimizer.zero_grad()
                with autocast(device):
                    loss = F.cross_entropy(model(tokens, real).float(), labels)
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                if cfg.clip:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.clip)
                scaler.step(optimizer)
                scaler.update()
                loop.add(loss)
            yield loop.row(**evaluate(model, val))


def too_large(cfg: Config, flag: str) -> str:
    """What to try where the steps were too large."""
    return f"Try {flag} {min(cfg.lr / 10, 0.002):g}{'' if cfg.clip else ', or --clip 1'}."


def train_baselines(
    cfg: Config, reviews: data.Data, train: data.Encoded, val: data.Encoded, words: int, device: Device
) -> dict[str, Any]:
    """What the network is held against, as rows, and what eval needs to score them on other reviews.

    The convolution of equal size is trained like the network, but at its own rate and without dropout of the vectors;
    its best weights on val are kept. No convolution stands beside a convolution.
    """
    rows, models = [], {}
    if cfg.peer and cfg.kind != "cnn":
        cfg = replace(cfg, kind="cnn", lr=cfg.peer_lr, embed_dropout=0.0)
        model = build(cfg, words).to(device.name)
        training = fit(cfg, train, val, model, device, peer=True)
        best, models[CNN] = runs.best_of(training, lambda: deepcopy(model.state_dict()))
        rows.append(runs.baseline(CNN, count(model), best))
    counted, settings = sentiment_baselines.count_words(reviews)
    rows += [*counted, runs.constant_answer(reviews.val.labels)]
    return {"rows": rows, "models": models, "counted": settings}


def count(model) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in model.parameters())


def describe(cfg: Config, reviews: data.Data, train: data.Encoded, words: int, params: int, device: Device) -> None:
    """What is trained on what."""
    runs.describe(reviews, "reviews")
    lengths = np.array([len(text) for text in train.ids])
    cut = (lengths > cfg.max_len).mean()
    print(f"{words:,} words known; a review has {np.median(lengths):.0f} (median), "
          f"{cut:.0%} are cut to their last {cfg.max_len}")  # fmt: skip
    both = ", both ways" if cfg.bidirectional else ""
    stack = f"{cfg.layers} layers of " if cfg.layers > 1 else ""
    units = "as large as the lstm" if cfg.kind == "cnn" else f"{stack}{cfg.hidden} units{both}, pooled by {cfg.pool}"
    print(f"network: {cfg.kind}, {units}; {params:,} parameters. Device: {device}")


def use_threads(cfg: Config) -> None:
    """Computes with as many CPU threads as --threads says."""
    import torch

    if cfg.threads:
        torch.set_num_threads(cfg.threads)


def main(cfg: Config) -> dict[str, Any]:
    """Trains a network that reads film reviews, and shows it beside counted words and a 1-D CNN of equal size.

    Returns what result.json holds; the run folder is under the key "run".
    """
    reviews = data.load(cfg.data, cfg.text, cfg.label)
    device = choose(cfg.device)
    use_threads(cfg)
    vocabulary = data.Vocabulary.build(reviews.train.texts, cfg.vocab)
    run, words = runs.begin(WEEK_NUMBER, cfg, FREE), len(vocabulary)
    run.hold_to(reviews)
    vocabulary.save(run.folder / "vocabulary.json")
    train, val = (data.encode(part, vocabulary, cfg.max_len) for part in (reviews.train, reviews.val))
    model = build(cfg, words).to(device.name)
    describe(cfg, reviews, train, words, count(model), device)
    theirs = run.once("baselines", lambda: train_baselines(cfg, reviews, train, val, words, device))
    best, last = run.follow(
        fit(cfg, train, val, model, device, run), lambda: {"words": words, "model": model.state_dict()}
    )

    from week03_lstm import sentiment_drawing

    contestants = [{"name": "this network"} | best, *theirs["rows"]]
    sentiment_drawing.bars(run.folder / "accuracy.png", contestants, "val_accuracy", cfg.data)
    advice = f"Try another --lr, more --epochs{', or --pool max' if cfg.pool == 'last' else ''}."
    hint = f'the verdict word by word: ./course run 3 sentiment_classify{mine()}{{run}} "a review of your own"'
    return run.finish(best, last, device, count(model), theirs["rows"], advice, [hint])


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
