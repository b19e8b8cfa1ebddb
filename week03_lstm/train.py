"""Trains a classifier of reviews: `./course train 3`, or `python -m week03_lstm.train --help`."""

import math
import shlex
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from shared import checkpoint, cli, device, rng, runs
from shared.errors import CourseError, Stopped
from shared.files import write_json
from shared.interrupt import StopRequest
from shared.progress import bar, metrics_log, read_metrics
from shared.seed import seed_everything
from week03_lstm import baselines, data

# torch takes seconds to import: what needs it is imported inside the functions, so that --help comes at once.

WEEK_NUMBER = 3
POOLS = ("last", "max", "mean")


@dataclass
class Config(cli.CommonConfig):
    """The flags of week 3. --data also takes imdb, a folder in its layout, or a .csv or .jsonl[.gz] of your own."""

    text: str = "text"
    """The column of your own file that holds the review."""
    label: str = "label"
    """The column that holds 0 or 1, negative or positive."""
    kind: str = "lstm"
    """lstm, gru, rnn, or cnn: the 1-D convolution that is as large as the lstm of the other flags; it wants --lr 0.003
    and --embed-dropout 0."""
    impl: str = "torch"
    """torch (torch.nn's layers, faster) or scratch (model.py's: the same numbers, every line to be read)."""
    embed: int = 100
    """Numbers per word. Most of the parameters are here; lower it, or --vocab, when memory runs out."""
    hidden: int = 64
    """Units of the state, per direction. Time grows with its square."""
    layers: int = 1
    """Recurrent layers on top of each other."""
    bidirectional: bool = False
    """Read backwards as well. Twice the time; and then no word-by-word verdict is a running one."""
    pool: str = "mean"
    """What the verdict is made from: the last state, each unit's max over the review, or its mean.
    With last the gradient has to travel through the whole review; with max and mean it has short ways."""
    dropout: float = 0.5
    """Dropped in training between the layers and before the verdict."""
    embed_dropout: float = 0.3
    """Dropped in training of the words' vectors."""
    word_dropout: float = 0.0
    """Words that become unknown in training. Nothing may depend on a single one."""
    vocab: int = 20_000
    """Words to know; the rarer ones all become <unk>."""
    max_len: int = 300
    """Words read of a review. Of a longer one the end is kept, where the verdict stands. Time grows with it."""
    batch_size: int = 32
    """Reviews per step. Smaller: more steps an epoch; larger: faster an epoch, wants a larger lr and more memory."""
    epochs: int = 4
    """How often each review is read."""
    max_steps: int = 0
    """Stop after so many steps (0: at the end of the epochs). The schedule is fitted to it."""
    lr: float = 0.01
    """The size of a step of Adam. Too small: slow. Too large: the loss jumps and stays at 0.69, a coin's."""
    schedule: str = "cosine"
    """cosine (warm up, then fall to zero) or constant."""
    clip: float = 1.0
    """Longest gradient, as the norm over all parameters; longer ones are shortened. 0: none, and one review can undo
    what many have taught."""
    weight_decay: float = 0.0
    """Pulls every weight towards zero (AdamW)."""
    bucket: bool = True
    """Batch reviews of about the same length. --no-bucket: blindly, so that a third of a batch is padding."""
    peer: bool = True
    """Also train the convolution of equal size, to compare with."""
    peer_lr: float = 0.003
    """The size of the convolution's steps: those that suit an LSTM are too large for it."""
    preset: str = "quick"
    """A set of defaults: `smoke` (seconds), `quick` (bundled reviews, minutes), `full` (imdb; a GPU helps).
    A flag given by hand wins over the preset."""


PRESETS = {
    "smoke": {
        "embed": 32, "hidden": 32, "vocab": 5000, "max_len": 60, "dropout": 0.2, "embed_dropout": 0.0,
    },
    "quick": {},
    "full": {
        "data": "imdb", "embed": 128, "hidden": 128, "bidirectional": True, "pool": "max", "dropout": 0.5,
        "embed_dropout": 0.5, "word_dropout": 0.3, "vocab": 30_000, "max_len": 400, "lr": 0.0015, "epochs": 6,
    },
}  # fmt: skip

# What --resume cannot change: the network, its data, and the order in which it sees them.
KEPT = (
    "data", "text", "label", "seed", "kind", "impl", "embed", "hidden", "layers", "bidirectional", "pool", "vocab",
    "max_len", "batch_size", "bucket",
)  # fmt: skip


class Diverged(CourseError):
    """The loss is no longer a number: the steps were too large."""

    def __init__(self, loss: float, step: int, epoch: int, cfg: Config) -> None:
        advice = "" if cfg.clip else ", or --clip 1"
        super().__init__(
            f"the loss became {loss} at step {step} (epoch {epoch}): the steps are too large. "
            f"Try --lr {min(cfg.lr / 10, 0.002):g}{advice}."
        )


@dataclass(frozen=True)
class Encoded:
    """A part in numbers: the word ids of each text, labels (N,), and how many words of a text are read."""

    ids: list[list[int]]
    labels: np.ndarray
    max_len: int

    def __len__(self) -> int:
        return len(self.labels)


def check(cfg: Config) -> None:
    """Raises CourseError for values that cannot work, before any data is read."""
    choices = (
        ("kind", ("lstm", "gru", "rnn", "cnn")),
        ("impl", ("torch", "scratch")),
        ("pool", POOLS),
        ("schedule", ("cosine", "constant")),
    )
    for flag, known in choices:
        if getattr(cfg, flag) not in known:
            raise CourseError(f"--{flag} {getattr(cfg, flag)}: choose one of {', '.join(known)}.")
    counts = ("embed", "hidden", "layers", "max-len", "batch-size", "epochs")
    limits = (
        *((flag, getattr(cfg, flag.replace("-", "_")) >= 1, "at least 1") for flag in counts),
        ("vocab", cfg.vocab >= 3, "at least 3 (two stand for padding and unknown words)"),
        ("max-steps", cfg.max_steps >= 0, "0 (no limit) or more"),
        ("lr", 0 < cfg.lr < 1e30, "a number above 0 and below 1e30"),
        ("peer-lr", 0 < cfg.peer_lr < 1e30, "a number above 0 and below 1e30"),
        ("clip", 0 <= cfg.clip < np.inf, "0 (no limit) or more"),
        ("weight-decay", 0 <= cfg.weight_decay < np.inf, "0 or more"),
        *((flag, 0 <= getattr(cfg, flag.replace("-", "_")) < 1, "from 0 to below 1")
          for flag in ("dropout", "embed-dropout", "word-dropout")),
        ("seed", cfg.seed >= 0, "0 or more"),
    )  # fmt: skip
    for flag, right, must in limits:
        if not right:
            raise CourseError(f"--{flag} {getattr(cfg, flag.replace('-', '_'))}: must be {must}.")


def encode(part: data.Part, vocabulary: data.Vocabulary, max_len: int) -> Encoded:
    return Encoded([vocabulary.encode(text) for text in part.texts], part.labels, max_len)


def build(cfg: Config, words: int):
    """The classifier of a config for a vocabulary of so many words, with weights drawn from its seed."""
    from week03_lstm import classifiers

    seed_everything(cfg.seed)
    known = {one.name for one in fields(classifiers.SentimentConfig)} & {one.name for one in fields(cfg)}
    shape = {name: getattr(cfg, name) for name in known - {"vocab"}}
    return classifiers.build(classifiers.SentimentConfig(vocab=words, **shape))


def predict(model, part: Encoded, size: int = 100) -> np.ndarray:
    """What the model believes of each text, (N, classes): in evaluation mode, in fp32, on the device it is on."""
    import torch

    where = next(model.parameters()).device
    believed = np.zeros((len(part), model.config.classes))
    lengths = np.array([min(len(text), part.max_len) for text in part.ids])
    model.eval()
    with torch.no_grad():
        for rows in data.batch_rows(lengths, size, None):
            tokens, real = data.padded([part.ids[row] for row in rows], part.max_len)
            logits = model(torch.from_numpy(tokens).to(where), torch.from_numpy(real).to(where))
            believed[rows] = logits.double().softmax(dim=1).cpu().numpy()
    return believed


def score(believed: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Mean loss (nats) and accuracy of probabilities (N, classes) for labels (N,)."""
    right = believed[np.arange(len(labels)), labels]
    with np.errstate(divide="ignore"):
        loss = float(-np.log(right).mean())
    return {"loss": loss, "accuracy": float((believed.argmax(axis=1) == labels).mean())}


def evaluate(model, part: Encoded) -> dict[str, float]:
    """Mean loss and accuracy of the model on a part."""
    return score(predict(model, part), part.labels)


def learning_rate(step: int, steps: int, cfg: Config) -> float:
    """Of this step: up to lr within the first twentieth, then down to 0 along half a cosine; or constant."""
    if cfg.schedule == "constant":
        return cfg.lr
    warm_up = max(1, steps // 20)
    if step < warm_up:
        return cfg.lr * (step + 1) / warm_up
    return cfg.lr * 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, steps - warm_up)))


def fit(
    cfg: Config,
    train: Encoded,
    val: Encoded,
    model,
    chosen: device.Device,
    run: Path | None = None,
    state: dict | None = None,
    label: str = "training",
) -> Iterator[dict]:
    """The training loop. Yields {epoch, step, train_loss, val_loss, val_accuracy, seconds} after every epoch.

    Args:
        cfg: how to train.
        train, val: trained on the one, and looked at the other after every epoch.
        model: changed in place; on the chosen device already.
        chosen: where to compute, and in which number format.
        run: where checkpoint.safetensors goes after every epoch and at Ctrl-C; None keeps nothing.
        state: what checkpoint.safetensors of an interrupted run held.
        label: of the progress bar.

    Raises:
        Diverged: the loss is no longer a number.
        Stopped: Ctrl-C was pressed; the state is saved.
    """
    import torch
    from torch.nn import functional as F

    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=cfg.weight_decay)
    scaler = torch.amp.GradScaler(chosen.name, enabled=chosen.dtype == "float16")
    mixed = chosen.dtype != "float32"
    lengths = np.array([min(len(text), cfg.max_len) for text in train.ids])
    per_epoch = math.ceil(len(train) / cfg.batch_size)
    steps = cfg.max_steps or cfg.epochs * per_epoch
    step, losses, seconds = 0, 0.0, 0.0
    seed_everything(cfg.seed)
    if state:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scaler.load_state_dict(state["scaler"])
        rng.set_rng_state(state["rng"])
        step, losses, seconds = state["step"], state["losses"], state["seconds"]

    def save() -> None:
        if run:
            now = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "scaler": scaler.state_dict()}
            now |= {"rng": rng.rng_state(), "step": step, "losses": losses, "seconds": seconds}
            checkpoint.save(run / "checkpoint.safetensors", now)

    with StopRequest() as stop, bar(steps, step, label) as progress:
        while step < steps:
            epoch, done = divmod(step, per_epoch)
            model.train()
            began = time.perf_counter()
            order = np.random.default_rng([cfg.seed, epoch])
            for rows in data.batch_rows(lengths, cfg.batch_size, order, cfg.bucket)[done:]:
                tokens, real = data.padded([train.ids[row] for row in rows], cfg.max_len)
                tokens, real, labels = (
                    torch.from_numpy(array).to(chosen.name) for array in (tokens, real, train.labels[rows])
                )
                for group in optimizer.param_groups:
                    group["lr"] = learning_rate(step, steps, cfg)
                optimizer.zero_grad()
                with torch.autocast(chosen.name, getattr(torch, chosen.dtype)) if mixed else nullcontext():
                    loss = F.cross_entropy(model(tokens, real).float(), labels)
                if not math.isfinite(loss.item()):
                    raise Diverged(loss.item(), step + 1, epoch + 1, cfg)
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                if cfg.clip:
                    torch.nn.utils.clip_grad_norm_(model.parameters(), cfg.clip)
                scaler.step(optimizer)
                scaler.update()
                losses += loss.item()
                step += 1
                progress.update()
                if stop or step == steps:
                    break
            seconds += time.perf_counter() - began
            if stop and step < steps and step % per_epoch:
                if not run:
                    raise KeyboardInterrupt
                save()
                where = f"{cli.mine()} --out {shlex.quote(str(run))}" if cfg.out else cli.mine()
                raise Stopped(f"stopped at step {step} of {steps}; saved. `./course train 3{where} --resume` goes on.")
            found = evaluate(model, val)
            if not math.isfinite(found["loss"]):  # it was the epoch's last step that went too far
                raise Diverged(found["loss"], step, epoch + 1, cfg)
            mean = losses / (step - epoch * per_epoch)
            progress.set_postfix(loss=f"{mean:.4f}", val=f"{found['accuracy']:.2%}")
            if step % per_epoch == 0:  # --max-steps may end inside an epoch, and --resume go on from there
                losses = 0.0
            yield {
                "epoch": epoch + 1, "step": step, "train_loss": mean,
                "val_loss": found["loss"], "val_accuracy": found["accuracy"], "seconds": seconds,
            }  # fmt: skip
            save()


def train_peer(cfg: Config, train: Encoded, val: Encoded, words: int, chosen: device.Device):
    """The convolution of equal size, trained the same way, but at its own rate and without dropout of the vectors.

    Returns its best state on val, and what it reached.
    """
    cfg = replace(cfg, kind="cnn", lr=cfg.peer_lr, embed_dropout=0.0)
    model = build(cfg, words).to(chosen.name)
    best, state, last = -1.0, {}, {}
    for last in fit(cfg, train, val, model, chosen, label="1-D CNN"):
        if last["val_accuracy"] > best:
            best, state = last["val_accuracy"], {k: v.detach().cpu().clone() for k, v in model.state_dict().items()}
    return state, {
        "name": "1-D CNN",
        "params": sum(p.numel() for p in model.parameters()),
        "seconds": round(last["seconds"], 2),
        "val_accuracy": best,
    }


def main(cfg: Config) -> dict:
    """Trains a network that reads film reviews, and shows it beside a bag of words and a 1-D CNN of equal size.

    Returns what result.json holds; the run folder is under the key "run".
    """
    check(cfg)
    reviews = data.load(cfg.data, cfg.text, cfg.label)
    chosen = device.choose(cfg.device)
    vocabulary = data.Vocabulary.build(reviews.train.texts, cfg.vocab)
    train, val = (encode(part, vocabulary, cfg.max_len) for part in (reviews.train, reviews.val))
    model = build(cfg, len(vocabulary)).to(chosen.name)
    params = sum(p.numel() for p in model.parameters())
    state = None
    if cfg.resume:
        run = Path(cfg.out) if cfg.out else runs.newest(WEEK_NUMBER, "checkpoint.safetensors")
        state = resumed(cfg, run, vocabulary)
    else:
        run = runs.create(WEEK_NUMBER, cfg)
        vocabulary.save(run / "vocabulary.json")
    describe(cfg, reviews, train, vocabulary, params, chosen)

    best, last = -1.0, {}
    with metrics_log(run / "metrics.jsonl", state["step"] if state else None) as log:
        if state:
            print(f"going on in {run} after step {state['step']}")
            history = read_metrics(run / "metrics.jsonl")
            best = max((row["val_accuracy"] for row in history), default=-1.0)
        for last in fit(cfg, train, val, model, chosen, run, state):
            log(**last)
            numbers = f"train loss {last['train_loss']:.4f}   val loss {last['val_loss']:.4f}"
            tqdm.write(f"epoch {last['epoch']:3d}   {numbers}   val accuracy {last['val_accuracy']:.2%}")
            if last["val_accuracy"] > best:
                best = last["val_accuracy"]
                save_model(run / "model.safetensors", model, cfg)
    if not last and (run / "result.json").is_file():
        raise CourseError(f"{run} has already finished: give --epochs a larger number, or start a new run.")
    last = last or read_metrics(run / "metrics.jsonl")[-1]  # Ctrl-C came while the baselines were trained

    reference = baselines.bag_of_words(reviews)
    if cfg.peer and cfg.kind != "cnn":
        try:
            peer, reference["cnn"] = train_peer(cfg, train, val, len(vocabulary), chosen)
        except KeyboardInterrupt:
            where = f"{cli.mine()} --out {shlex.quote(str(run))}" if cfg.out else cli.mine()
            raise Stopped(
                "stopped while the 1-D CNN was trained; the network itself is saved. "
                f"`./course train 3{where} --resume` goes on."
            ) from None
        checkpoint.save(run / "peer.safetensors", peer)
    result = runs.result(
        WEEK_NUMBER, cfg, device=chosen.name, dtype=chosen.dtype, params=params, seconds=last["seconds"],
        metrics={"val_accuracy": best, "last_val_accuracy": last["val_accuracy"], "last_val_loss": last["val_loss"]},
        baseline=reference,
    )  # fmt: skip
    write_json(run / "result.json", result)
    from week03_lstm import pictures

    pictures.curves(run, run / "curves.png")
    pictures.bars(result, "val_accuracy", run / "val_accuracy.png")
    print_result(result, "val_accuracy")
    kept = max(read_metrics(run / "metrics.jsonl"), key=lambda row: row["val_accuracy"])  # the first of equals
    print(f"(the weights of the best epoch on val, {kept['epoch']}, are kept)")
    if line := warning(cfg, reviews, best):
        print(f"\n{line}")
    where = f" --run {shlex.quote(str(run))}" if cfg.out else ""
    print(f"\nrun folder: {run}\non the test set, with the mistakes it makes: ./course eval 3{cli.mine()}{where}")
    print(f'the verdict word by word: ./course run 3 classify{where} "a review of your own"')
    return result | {"run": str(run)}


def describe(
    cfg: Config, reviews: data.Data, train: Encoded, vocabulary: data.Vocabulary, params: int, chosen: device.Device
) -> None:
    """What is trained on what, in three lines."""
    counts = f"{len(reviews.train):,} reviews to train on, {len(reviews.val):,} to validate"
    dropped = f" ({reviews.dropped:,} that occur twice were dropped)" if reviews.dropped else ""
    print(f"{reviews.name}: {counts}{dropped}")
    lengths = np.array([len(text) for text in train.ids])
    cut = (lengths > cfg.max_len).mean()
    known = f"{len(vocabulary):,} words known"
    print(f"{known}; a review has {np.median(lengths):.0f} (median), {cut:.0%} are cut to their last {cfg.max_len}")
    both = ", both ways" if cfg.bidirectional else ""
    stack = f"{cfg.layers} layers of " if cfg.layers > 1 else ""
    units = "as large as the lstm" if cfg.kind == "cnn" else f"{stack}{cfg.hidden} units{both}, pooled by {cfg.pool}"
    print(f"network: {cfg.kind}, {units}; {params:,} parameters. Device: {chosen}")


def resumed(cfg: Config, run: Path, vocabulary: data.Vocabulary) -> dict:
    """The state that an interrupted run left, after a look whether it can be gone on with.

    Raises:
        CourseError: it was started with another network or on other reviews.
    """
    before = cli.from_run(Config, run)
    state = checkpoint.load(run / "checkpoint.safetensors", framework="pt")
    for name in KEPT:
        if getattr(cfg, name) != getattr(before, name):
            flag, was = f"--{name.replace('_', '-')}", getattr(before, name)
            raise CourseError(f"{run} was started with {flag} {was}: leave {flag} out, or start a new run.")
    if data.Vocabulary.read(run / "vocabulary.json").words != vocabulary.words:
        raise CourseError(f"{run} was started on other reviews than --data {cfg.data} holds now: start a new run.")
    if cfg.epochs != before.epochs or cfg.max_steps != before.max_steps:  # for when it is interrupted again
        write_json(run / "config.json", asdict(replace(before, epochs=cfg.epochs, max_steps=cfg.max_steps)))
    return state


def warning(cfg: Config, reviews: data.Data, accuracy: float) -> str:
    """One line where an accuracy on val is that of always guessing (or less than 2 points more)."""
    guessing = max(baselines.majority(reviews.train, reviews.val), reviews.val.labels.mean(), 0.5)
    if accuracy > guessing + 0.02:
        return ""
    ways = "another --lr, more --epochs" + (", or --pool max" if cfg.pool == "last" else "")
    return f"it has learned next to nothing: always guessing gets {guessing:.2%} on val. Try {ways}."


def save_model(path: Path, model, cfg: Config) -> None:
    """The weights, and what is needed to build the network again; the vocabulary lies beside it."""
    checkpoint.save(path, {"config": asdict(cfg), "words": model.config.vocab, "model": model.state_dict()})


@dataclass(frozen=True)
class Trained:
    """What a run holds: the network that was best on val, its convolution (or None), its words and its config."""

    model: object
    peer: object
    vocabulary: data.Vocabulary
    config: Config


def load_model(run: Path) -> Trained:
    """The best network of a run, on the CPU.

    Raises:
        CourseError: the run has no model, or one of another week.
    """
    path = run / "model.safetensors"
    saved = checkpoint.load(path, framework="pt")
    if saved.keys() != {"config", "words", "model"} or saved["config"].keys() - {f.name for f in fields(Config)}:
        raise CourseError(f"{path} is not a network of week 3. Give --run a folder of runs/week03.")
    cfg, vocabulary = Config(**saved["config"]), data.Vocabulary.read(run / "vocabulary.json")
    if len(vocabulary) != saved["words"]:
        raise CourseError(
            f"{run / 'vocabulary.json'} has {len(vocabulary):,} words, the network {saved['words']:,}: not of one run."
        )
    peer = None
    if (run / "peer.safetensors").is_file():
        weights = checkpoint.load(run / "peer.safetensors", framework="pt")
        peer = filled(build(replace(cfg, kind="cnn"), len(vocabulary)), weights, run / "peer.safetensors")
    return Trained(filled(build(cfg, len(vocabulary)), saved["model"], path), peer, vocabulary, cfg)


def filled(model, weights: dict, path: Path):
    """The model with these weights; a CourseError where they do not fit."""
    try:
        model.load_state_dict(weights)
    except RuntimeError:
        raise CourseError(f"{path} does not fit its own description. Train again, or use another run.") from None
    return model.eval()


def print_result(result: dict, metric: str) -> None:
    """The result beside its baselines, as a small table."""
    theirs = result["baseline"]
    rows = [("this network", result["metrics"][metric], result)]
    rows += [(one["name"], one[metric], one) for one in (theirs.get("cnn"), theirs) if one]
    print(f"\n{'':24s}{metric.replace('_', ' '):>14s}{'parameters':>13s}{'seconds':>10s}")
    for name, accuracy, row in rows:
        print(f"{name:24s}{accuracy:>14.2%}{row['params']:>13,}{row['seconds']:>10.1f}")
    print(f"{'always the same answer':24s}{theirs['majority'][metric]:>14.2%}")


if __name__ == "__main__":
    cli.run(main, Config, PRESETS, week=WEEK_NUMBER)
