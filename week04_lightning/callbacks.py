"""What the Trainer does beside training: keep a journal, stop when asked, average the weights, write safe files.

A callback is a list of moments: the Trainer calls each method when its moment has come.
"""

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging

from shared import checkpoint
from shared.errors import CourseError, Diverged
from shared.interrupt import StopRequest
from shared.progress import bar
from shared.rng import rng_state, set_rng_state
from shared.runs import CHECKPOINT, Run
from shared.seed import seed_everything
from week04_lightning.optim import EqualAverage, MovingAverage
from week04_lightning.quiet import hush


class SafeFiles(CheckpointIO):
    """Lightning's checkpoints as safetensors and JSON, written whole or not at all.

    Its own files are pickles, and a pickle can run anything when it is opened. All that a Trainer wants to remember is
    tensors, numbers and strings, so the course's format holds it.
    """

    def save_checkpoint(self, state: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        checkpoint.save(Path(path), state)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return checkpoint.load(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)


class KeptState(ModelCheckpoint):
    """Keeps a state of the training in the run's folder: the last one, or the best on a metric.

    Lightning's own knows its files by their full paths, and after the folder has been moved it forgets which was best.
    This one knows them by name.

    Args:
        folder: the run's.
        filename: without its ending.
        which: monitor and mode, for the best one.
    """

    FILE_EXTENSION = ".safetensors"
    PATHS = ("best_model_path", "kth_best_model_path", "last_model_path")

    def __init__(self, folder: Path, filename: str, **which: Any) -> None:
        super().__init__(dirpath=folder, filename=filename, enable_version_counter=False, **which)

    def state_dict(self) -> dict[str, Any]:
        return self.renamed(super().state_dict(), lambda path: Path(path).name) | {"dirpath": ""}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        here = self.renamed(state, lambda name: str(Path(self.dirpath) / name))
        super().load_state_dict(here | {"dirpath": self.dirpath})
        self.current_score = state["current_score"]  # which Lightning saves, and forgets to restore

    def renamed(self, state: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
        """The state with all names of files changed; where there is no file yet, the name is empty."""
        best = {change(path): score for path, score in state["best_k_models"].items()}
        return state | {"best_k_models": best} | {name: state[name] and change(state[name]) for name in self.PATHS}


class Journal(L.Callback):
    """The run's log, a row an epoch; progress bar; seed or the generators' saved states; Ctrl-C; --max-steps.

    `rows` holds {epoch, step, train_loss, val_loss, val_accuracy, seconds} of every epoch, as week 2's loop yields
    them. The seconds are those of training, without validation and the writing of files.

    Args:
        cfg: the recipe.
        run: whose log it is, and where Ctrl-C saves; None keeps nothing.
    """

    def __init__(self, cfg: Any, run: Run | None) -> None:
        self.cfg, self.run = cfg, run
        self.rows: list[dict[str, Any]] = []
        self.losses, self.counted, self.seconds = 0.0, 0, 0.0
        self.began: float | None = None  # when the clock was started; None while it rests
        self.generators: dict[str, Any] | None = None  # what a checkpoint held

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Called in a process of --strategy ddp, which has just been started: Lightning would be talkative there."""
        hush()
        self.__dict__.update(state)

    def state_dict(self) -> dict[str, Any]:
        now = {"losses": float(self.losses), "counted": self.counted, "rng": rng_state()}
        return now | {"seconds": self.seconds + (time.perf_counter() - self.began if self.began else 0.0)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.losses, self.counted, self.seconds = state["losses"], state["counted"], state["seconds"]
        self.generators = state["rng"]

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if self.generators:
            set_rng_state(self.generators)
        else:
            seed_everything(self.cfg.seed)
        self.opened = ExitStack()
        self.stop = self.opened.enter_context(StopRequest())
        # Lightning's own bar begins anew every epoch; this one tells the time that is left of all of them.
        self.bar = self.opened.enter_context(bar(module.steps, trainer.global_step, "training"))
        self.bar.disable |= not trainer.is_global_zero
        if self.run and trainer.is_global_zero:
            self.log = self.opened.enter_context(self.run.log())
        self.steps, self.began = module.steps, time.perf_counter()

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not outputs:  # Lightning would skip such a step
            raise CourseError("training_step returned nothing: return the batch's loss.")
        step, loss = trainer.global_step, outputs["loss"]
        # On a GPU, reading a number waits for all that is still to be computed: look at it now and then only.
        self.losses = self.losses + (loss if loss.is_cuda else loss.item())
        self.counted += 1
        self.bar.update()
        if (not loss.is_cuda or step % 50 == 0) and not math.isfinite(self.losses):
            raise self.diverged(loss.item(), trainer)
        if step >= self.steps:
            trainer.should_stop = True  # at the end of this step: it validates, and ends
        elif batch_idx + 1 < trainer.num_training_batches:  # after an epoch's last step validation comes first
            self.stop_if_asked(trainer)

    def on_train_epoch_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self.stop_if_asked(trainer)
        self.began = time.perf_counter()

    def stop_if_asked(self, trainer: L.Trainer) -> None:
        """After Ctrl-C: saves and ends. Where one of several processes has heard it, all stop at the same step."""
        asked = bool(self.stop)
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(asked, all=False)
        if not asked:
            return
        if not self.run:
            raise KeyboardInterrupt
        step = trainer.global_step
        if step % trainer.num_training_batches:  # else it has just been saved, with what the epoch came to
            trainer.save_checkpoint(self.run.folder / CHECKPOINT)
        raise self.run.stopped(f"stopped at step {step} of {self.steps}; saved.")

    def diverged(self, loss: float, trainer: L.Trainer) -> Diverged:
        """What to raise where a loss is no number."""
        return Diverged(loss, trainer.global_step, trainer.current_epoch + 1, f"Try --lr {self.cfg.lr / 10:g}.")

    def on_validation_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        if not math.isfinite(self.losses):
            raise self.diverged(float(self.losses), trainer)
        self.seconds += time.perf_counter() - self.began
        self.began = None

    def on_train_epoch_end(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        val = {name: float(trainer.callback_metrics[name]) for name in ("val_loss", "val_accuracy")}
        epoch, mean = trainer.current_epoch + 1, float(self.losses) / self.counted
        if trainer.world_size > 1:
            mean = float(trainer.strategy.reduce(torch.tensor(mean, device=module.device), reduce_op="mean"))
        if not math.isfinite(val["val_loss"]):  # it was the epoch's last step that went too far
            raise self.diverged(val["val_loss"], trainer)
        module.log("train_loss", mean)
        row = {"epoch": epoch, "step": trainer.global_step, "train_loss": mean, **val, "seconds": self.seconds}
        self.rows.append(row)
        self.losses, self.counted = 0.0, 0
        self.bar.set_postfix(loss=f"{mean:.4f}", val=f"{val['val_accuracy']:.2%}")
        if self.run and trainer.is_global_zero:
            self.log(row)

    def teardown(self, trainer: L.Trainer, module: L.LightningModule, stage: str) -> None:
        if hasattr(self, "opened"):
            self.opened.close()
            del self.opened


class Average(WeightAveraging):
    """An average of the weights, which is what val and test see, and what is kept; the training goes on beside it.

    EMA takes in every step, SWA the end of every epoch in the last `share` of them. Batch norm's running averages are
    averaged alike.

    Args:
        cfg: average (ema or swa), ema_decay, swa_share and epochs.
    """

    def __init__(self, cfg: Any) -> None:
        self.moving = cfg.average == "ema"
        skipped = round((1 - cfg.swa_share) * cfg.epochs)
        super().__init__(avg_fn=MovingAverage(cfg.ema_decay) if self.moving else EqualAverage(skipped))

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """After every step (EMA), or after the last one of an epoch (SWA): before the validation that looks at it."""
        return step_idx is not None and (self.moving or self.ending)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.ending = batch_idx + 1 == trainer.num_training_batches or trainer.global_step >= module.steps
        super().on_train_batch_end(trainer, module, outputs, batch, batch_idx)
