"""A training loop's bookkeeping. It only keeps count: the loop itself stands in the week, from lr to step.

    with Loop(cfg, run, steps, per_epoch, model=model, optimizer=optimizer) as loop:
        for epoch in loop.epochs():
            for rows in loop.batches(order.split(size)):
                …                                  # lr → forward → loss → backward → step
                loop.add(loss)
            yield loop.row(**evaluate(model))

It restores the named parts where a run goes on, passes over the steps that are done, counts steps and seconds, adds up
the loss, hears Ctrl-C, and saves after every epoch. Nothing here knows torch, a model, or a week.
"""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol, TypeVar, runtime_checkable

from shared import checkpoint
from shared.errors import Diverged
from shared.interrupt import StopRequest
from shared.progress import bar
from shared.rng import rng_state, set_rng_state
from shared.runs import Run
from shared.seed import seed_everything

Batch = TypeVar("Batch")


@runtime_checkable
class Stateful(Protocol):
    """A part of the training that a checkpoint must hold: model, optimiser, gradient scaler, generator."""

    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: Any) -> Any: ...


class Loop:
    """Counts the steps of one training.

    Args:
        cfg: its `seed` seeds every generator, where nothing is restored.
        run: where the state is kept, and comes from; None keeps nothing (a baseline, a comparison, a test).
        steps: of the whole training.
        per_epoch: steps of an epoch; where data have no end, as many as lie between two rows of the log.
        advice: what to try where the loss is no longer a number.
        label: of the progress bar.
        parts: what is saved and restored, by name.
    """

    def __init__(
        self, cfg: Any, run: Run | None, steps: int, per_epoch: int, advice: str = "", label: str = "training",
        **parts: Stateful,
    ) -> None:  # fmt: skip
        self.run, self.steps, self.per_epoch, self.advice, self.parts = run, steps, per_epoch, advice, parts
        self.step, self.losses, self.seconds = 0, 0.0, 0.0
        state = run.take_state() if run else {}
        if state.get("step"):  # 0: stopped before its first step
            for name, part in parts.items():
                if state[name]:  # a gradient scaler that rests has none
                    checkpoint.restore(part, state[name])
            set_rng_state(state["rng"])
            self.step, self.losses, self.seconds = state["step"], state["losses"], state["seconds"]
        else:
            seed_everything(cfg.seed)
        self.stop, self.bar = StopRequest(), bar(steps, self.step, label)

    def __enter__(self) -> "Loop":
        self.stop.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.bar.close()
        self.stop.__exit__(*error)

    def epochs(self) -> Iterator[int]:
        """Yields the number of each epoch, from 0, that is not done yet, and saves when it has come to its end."""
        while self.step < self.steps:
            self.epoch = self.step // self.per_epoch
            yield self.epoch
            if self.run:
                self.save()

    def batches(self, all_of_them: Sequence[Batch]) -> Iterator[Batch]:
        """Yields an epoch's batches that are not done yet, and leaves the loop where Ctrl-C asks for it.

        What is passed over must have cost no random number: give it row numbers, not augmented images. After an epoch's
        last step its row is told of and saved first; after the very last one the training simply ends.

        Raises:
            Stopped: Ctrl-C was pressed; the state is saved. KeyboardInterrupt where there is no run.
        """
        began = time.perf_counter()
        for batch in all_of_them[self.step % self.per_epoch : self.per_epoch]:
            if self.stop:
                self.seconds += time.perf_counter() - began
                if not self.run:
                    raise KeyboardInterrupt
                self.save()
                raise self.run.stopped(f"stopped at step {self.step} of {self.steps}; saved.")
            yield batch
            if self.step == self.steps:
                break
        self.seconds += time.perf_counter() - began

    def add(self, loss: Any) -> None:
        """Counts a step and its loss, a number or a tensor of one; Diverged where it is no number."""
        value = loss.item() if hasattr(loss, "item") else loss
        self.step += 1
        self.losses += value
        self.check(value)
        self.bar.update()

    def check(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise Diverged(loss, self.step, self.epoch + 1, self.advice)

    def row(self, **val: float) -> dict[str, Any]:
        """The epoch's row for the log: epoch, step, mean train_loss, val_loss and other scores, seconds of training."""
        self.check(val.get("loss", 0.0))  # it may have been the last step that went too far
        mean = self.losses / (self.step - self.epoch * self.per_epoch)
        if self.step % self.per_epoch == 0:  # else --max-steps has ended it, and --resume may go on from there
            self.losses = 0.0
        self.bar.set_postfix({"loss": f"{mean:.4f}"} | {f"val {name}": f"{value:.4f}" for name, value in val.items()})
        scores = {f"val_{name}": value for name, value in val.items()}
        return {"epoch": self.epoch + 1, "step": self.step, "train_loss": mean, **scores, "seconds": self.seconds}

    def save(self) -> None:
        parts = {name: part.state_dict() for name, part in self.parts.items()}
        self.run.save(parts | {"step": self.step, "losses": self.losses, "seconds": self.seconds, "rng": rng_state()})
