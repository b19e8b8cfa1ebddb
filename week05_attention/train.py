"""Trains a translator with attention: `./course train 5`, or `python -m week05_attention.train --help`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week05_attention/train.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

import numpy as np
from annotated_types import Ge, Le

from shared import cli, runs, sentence_pairs
from shared.config import Count, Natural, NonNegative, Positive, Share, TrainConfig
from shared.device import Device, autocast, choose
from shared.loop import Loop
from shared.seed import seed_everything
from shared.sentence_pairs import Part, Vocabulary
from shared.terminal import mine
from week05_attention import baselines, data
from week05_attention.baselines import CONSTANT, DICTIONARY

# torch takes seconds to import: what needs it is imported inside the functions, so that --help comes at once.

WEEK_NUMBER = 5
NO_ATTENTION = "the same without attention"


@dataclass
class Config(TrainConfig):
    """The flags of week 5. --data also takes anki, or a tab-separated file of your own, in any two languages."""

    attention: Literal["additive", "dot", "general", "none"] = "additive"
    """How the decoder looks back: additive (a small network compares), dot (as they are), general (after a matrix), or
    none: all it gets is one vector of the whole sentence."""
    scaled: bool = True
    """Divides the scores of dot and general by the root of --hidden. --no-scaled: as they were published."""
    embed: Count = 128
    """Numbers per word. Most of the parameters are here; lower it, or --vocab, when memory runs out."""
    hidden: Annotated[int, Ge(2)] = 256
    """Units of the decoder's state, even: half of an annotation reads forwards, half backwards."""
    dropout: Share = 0.3
    """Dropped in training of the words' vectors, and before the last layer."""
    own: Annotated[float, Ge(0), Le(1)] = 0.0
    """Teacher forcing with a schedule: the share of a word's predecessors that are the model's own choice, growing
    from 0 to this in the course of the training."""
    vocab: Annotated[int, Ge(5)] = 16_000
    """Words to know in each language, with the four for padding, unknown, begin and end. Only what occurs twice."""
    most_words: Count = 12
    """Longer sentences are left out, on either side. Time grows with it."""
    batch_size: Count = 64
    """Pairs per step. Larger: faster an epoch, and wants a larger lr and more memory."""
    epochs: Count = 6
    """How often each pair is read."""
    max_steps: Natural = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    lr: Positive = 0.003
    """The size of a step of Adam. Too small: slow. Too large: it writes the same sentence whatever it reads."""
    clip: NonNegative = 1.0
    """Longest gradient, as the norm over all parameters. 0: none."""
    beam: Count = 1
    """Hypotheses kept while the val sentences are translated (eval and translate have their own)."""
    peer: bool = True
    """Also trains a translator without attention that has as many parameters. --no-peer: half the time."""
    threads: Natural = 0
    """CPU threads (0: as many as torch takes). With another number results differ in the last digits."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"embed": 48, "hidden": 64, "epochs": 2, "max_steps": 200, "lr": 0.01, "dropout": 0.1, "threads": 1},
    "quick": {},
    "full": {
        "data": "anki",
        "attention": "general",
        "embed": 192,
        "most_words": 10,
        "batch_size": 128,
        "epochs": 8,
        "lr": 0.002,
    },
}
# What --resume may change: how long and in what steps it goes on, and where it computes.
FREE = ("epochs", "max_steps", "lr", "clip", "device", "threads", "beam")


def build(cfg: Config, source_words: int, target_words: int):
    """The translator of a config for vocabularies of these sizes, with weights drawn from its seed."""
    from week05_attention.model import Seq2Seq, Seq2SeqConfig

    seed_everything(cfg.seed)
    known = {one.name for one in fields(Seq2SeqConfig)} & {one.name for one in fields(cfg)}
    return Seq2Seq(Seq2SeqConfig(source_words, target_words, **{name: getattr(cfg, name) for name in known}))


def without_attention(cfg: Config, source_words: int, target_words: int) -> Config:
    """The same config without attention, with as many more units as bring it to the same number of parameters."""
    wanted = count(build(cfg, source_words, target_words))
    other = replace(cfg, attention="none")
    while count(build(other, source_words, target_words)) < wanted:
        other = replace(other, hidden=other.hidden + 2)
    return other


def count(model) -> int:
    """How many numbers are trained."""
    return sum(parameter.numel() for parameter in model.parameters())


def translate_all(
    model, sources: list[str], source: Vocabulary, target: Vocabulary, beam: int = 1, size: int = 100
) -> list[tuple[list[str], np.ndarray, list[bool]]]:
    """Of each sentence: the words of its translation, the weights (words, source words) they were written with, and
    which were copied from the source because the model knows no word for them. Both lists of words without </s>."""
    import torch

    from week05_attention.model import translate

    device = next(model.parameters()).device
    words = [sentence_pairs.tokenize(text) for text in sources]
    ids = [source.encode(sentence) for sentence in words]
    found: list[Any] = [None] * len(sources)
    for rows in sentence_pairs.batch_rows(np.array([len(one) for one in ids]), size, None):
        tokens = torch.from_numpy(sentence_pairs.padded([ids[row] for row in rows])).to(device)
        result = translate(model, tokens, beam, most=2 * tokens.shape[1] + 5)
        for row, written, weights in zip(rows, result.ids.tolist(), result.weights.float().cpu().numpy(), strict=True):
            answer = target.decode(written)
            looked = weights[: len(answer), : len(ids[row])]
            unknown = [word == "<unk>" for word in answer]
            for at in np.flatnonzero(unknown):
                place = int(looked[at, : len(words[row])].argmax()) if looked.shape[1] > 1 else 0
                answer[at] = words[row][place] if words[row] else answer[at]
            found[row] = answer, looked, unknown
    return found


def evaluate(model, pairs: data.Encoded, part: Part, source: Vocabulary, target: Vocabulary, beam: int = 1):
    """{loss, bleu, chrf, exact} of a part: the loss under teacher forcing, and how good whole translations are."""
    import torch

    from shared.translation_scores import scores
    from week05_attention.model import translation_loss

    device = next(model.parameters()).device
    total = words = 0
    model.eval()
    with torch.no_grad():
        for rows in sentence_pairs.batch_rows(pairs.lengths, 200, None):
            tokens, truth = (torch.from_numpy(array).to(device) for array in pairs.batch(rows))
            known = int((truth != sentence_pairs.PAD).sum())
            total += translation_loss(model(tokens, truth)[0].float(), truth).item() * known
            words += known
    found = translate_all(model, part.sources, source, target, beam)
    return {"loss": total / words} | scores([sentence_pairs.detokenize(one[0]) for one in found], part.references)


def learning_rate(step: int, steps: int, peak: float) -> float:
    """What step number `step` is to have: up to `peak` in the first tenth, then down to zero, in straight lines."""
    warm_up = max(1, steps // 10)
    return peak * min((step + 1) / warm_up, max(0.0, (steps - step) / max(1, steps - warm_up)))


def fit(
    cfg: Config, pairs: data.Encoded, val: data.Encoded, part: Part, words: tuple[Vocabulary, Vocabulary], model,
    device: Device, run: runs.Run | None = None,
) -> Iterator[runs.Row]:  # fmt: skip
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_bleu, …, seconds} after every epoch.

    Args:
        cfg: how to train.
        pairs: trained on.
        val, part: looked at after every epoch, as numbers and as sentences.
        words: the vocabularies of either side.
        model: changed in place; on the device already.
        device: where to compute, and in which number format.
        run: where the state is kept, and which is gone on with; None: this is the translator without attention.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    import torch

    from week05_attention.model import translation_loss

    optimizer = torch.optim.Adam(model.parameters(), lr=cfg.lr)
    # fp16 cannot hold small gradients, so there the loss is multiplied, and the gradients divided again. Else it rests.
    scaler = torch.amp.GradScaler(device.name, enabled=device.dtype == "float16")
    per_epoch, lengths = math.ceil(len(pairs) / cfg.batch_size), pairs.lengths
    steps = cfg.max_steps or cfg.epochs * per_epoch

    # A Loop only keeps count: it restores and saves these three, passes over what is done, and hears Ctrl-C.
    parts = {"model": model, "optimizer": optimizer, "scaler": scaler}
    label, advice = "training" if run else f"baseline: {NO_ATTENTION}", f"Try --lr {cfg.lr / 3:.2g}, or --clip 1."
    with Loop(cfg, run, steps, per_epoch, advice, label, **parts) as loop:
        for epoch in loop.epochs():
            model.train()
            rng = np.random.default_rng([cfg.seed, epoch])
            for rows in loop.batches(sentence_pairs.batch_rows(lengths, cfg.batch_size, rng)):
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(loop.step, steps, cfg.lr)
                source, target = (torch.from_numpy(array).to(device.name) for array in pairs.batch(rows))
                optimizer.zero_grad()
                with autocast(device):
                    logits, _ = model(source, target, own=cfg.own * loop.step / steps)
                loss = translation_loss(logits.float(), target)
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                if cfg.clip:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.clip)
                scaler.step(optimizer)
                scaler.update()
                loop.add(loss)
            yield loop.row(**evaluate(model, val, part, *words, beam=cfg.beam))


def train_baselines(
    cfg: Config, pairs: sentence_pairs.Pairs, train: data.Encoded, val: data.Encoded,
    words: tuple[Vocabulary, Vocabulary], device: Device,
) -> dict[str, Any]:  # fmt: skip
    """What the translator is held against, as rows, and the weights of the one without attention."""
    from copy import deepcopy

    from shared.translation_scores import bleu

    rows, models = [], {}
    if cfg.peer and cfg.attention != "none":
        other = without_attention(cfg, *map(len, words))
        model = build(other, *map(len, words)).to(device.name)
        training = fit(other, train, val, pairs.val, words, model, device)
        best, weights = runs.best_of(training, lambda: deepcopy(model.state_dict()), "val_bleu")
        models[NO_ATTENTION] = {"hidden": other.hidden, "model": weights}
        row = {name: best[name] for name in best if name.startswith("val_")}
        rows.append({"name": NO_ATTENTION, "params": count(model), "seconds": round(best["seconds"], 2)} | row)
    dictionary, always = baselines.Dictionary.learn(pairs.train), baselines.commonest(pairs.train)
    answers = [dictionary.translate(text) for text in pairs.val.sources]
    entries = len(dictionary.entries)
    rows.append(
        {"name": DICTIONARY, "params": entries, "seconds": 0.0, "val_bleu": bleu(answers, pairs.val.references)}
    )
    same = bleu([always] * len(pairs.val), pairs.val.references)
    rows.append({"name": CONSTANT, "params": 0, "seconds": 0.0, "val_bleu": same})
    return {"rows": rows, "models": models}


def use_threads(cfg: Config) -> None:
    """Computes with as many CPU threads as --threads says."""
    import torch

    if cfg.threads:
        torch.set_num_threads(cfg.threads)


def load_data(cfg: Config) -> sentence_pairs.Pairs:
    """What --data and --most-words say."""
    return sentence_pairs.load(cfg.data, cfg.most_words)


def main(cfg: Config) -> dict[str, Any]:
    """Trains a translator with attention, and shows it beside one without and a dictionary.

    Returns what result.json holds; the run folder is under the key "run".
    """
    check(cfg)
    pairs = load_data(cfg)
    device = choose(cfg.device)
    use_threads(cfg)
    words = vocabularies(cfg, pairs.train)
    run = runs.begin(WEEK_NUMBER, cfg, FREE)
    run.hold_to(pairs)
    sentence_pairs.save_vocabularies(run.folder / "vocabularies.json", *words)
    train, val = (data.encode(part, *words) for part in (pairs.train, pairs.val))
    model = build(cfg, *map(len, words)).to(device.name)
    runs.describe(pairs, "sentences")
    known = f"{len(words[0]):,} words known of the one language, {len(words[1]):,} of the other"
    print(f"{len(train):,} pairs to train on; {known}")
    print(f"attention: {cfg.attention}; {count(model):,} parameters. Device: {device}")
    theirs = run.once("baselines", lambda: train_baselines(cfg, pairs, train, val, words, device))
    best, last = run.follow(
        fit(cfg, train, val, pairs.val, words, model, device, run),
        lambda: {"words": [*map(len, words)], "model": model.state_dict()},
        "val_bleu",
    )
    show_examples(run.folder, model, pairs.val, words)
    hint, advice = 'see where it looks: ./course run 5 translate{run} "a sentence of your own"', "Try more --epochs."
    hint = hint.replace("{run}", f"{mine()}{{run}}")
    return run.finish(best, last, device, count(model), theirs["rows"], advice, [hint])


def check(cfg: Config) -> None:
    """CourseError where the flags do not go together."""
    from shared.errors import CourseError

    if cfg.hidden % 2:
        raise CourseError(f"--hidden {cfg.hidden}: must be even, half of it reads forwards and half backwards.")


def vocabularies(cfg: Config, part: Part) -> tuple[Vocabulary, Vocabulary]:
    """The words of either language that occur twice in train."""
    sources, targets = zip(*part.pairs, strict=True)
    return Vocabulary.build(sources, cfg.vocab), Vocabulary.build(targets, cfg.vocab)


def show_examples(folder: Path, model, part: Part, words: tuple[Vocabulary, Vocabulary], few: int = 3) -> None:
    """Prints the first few translations of val beside what they should be, and draws what was looked at."""
    from week05_attention import drawing

    found = translate_all(model, part.sources[:few], *words)
    for source, references, (answer, _, _) in zip(part.sources, part.references, found, strict=False):
        print(f"\n  {source}\n  → {sentence_pairs.detokenize(answer)}\n  ({references[0]})")
    maps = [(sentence_pairs.tokenize(s), *one[:2]) for s, one in zip(part.sources, found, strict=False) if one[0]]
    if maps and maps[0][2].shape[1] > 1:
        drawing.maps(folder / "alignments.png", maps)


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS, week=WEEK_NUMBER)
