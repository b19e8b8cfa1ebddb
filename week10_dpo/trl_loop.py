"""The same training by trl's DPOTrainer, which keeps the loop to itself: `./course train 10 --trainer trl`.

It is handed our model, our pairs as texts, and our schedule; what it says of val is measured as in train.py. It differs
in what it is: its order of the pairs, its tokens of the chat template, and dropout in the reference.
"""

import math
import tempfile
import time
from collections.abc import Callable
from typing import Any

from shared import runs
from shared.chat_models import quiet
from shared.device import Device
from shared.errors import CourseError, Diverged
from shared.splits import Part

LOSSES = {"dpo": "sigmoid", "ipo": "ipo", "dpo_norm": "sigmoid_norm"}


def check(cfg: Any) -> None:
    """CourseError where trl cannot do what the flags ask for."""
    if cfg.resume:
        raise CourseError("--trainer trl does not go on where it stopped: start a new run, or take --trainer loop.")
    if cfg.loss not in LOSSES:
        raise CourseError(f"--trainer trl has no --loss {cfg.loss} (its sigmoid passes label smoothing over).")
    if not cfg.lora:
        raise CourseError("--trainer trl: here with adapters alone; leave --no-lora out, or take --trainer loop.")


def follow(
    cfg: Any, run: runs.Run, train: Part, tokenizer: Any, model: Any, look: Callable[[], dict[str, float]],
    device: Device, keep: Callable[[], dict[str, Any]],
) -> tuple[runs.Row, runs.Row]:  # fmt: skip
    """Trains by trl. Returns the best row and the last one, as run.follow does.

    Args:
        cfg, run: of train.py.
        train: the pairs as texts, which trl makes tokens of by itself.
        tokenizer, model: what it trains, with adapters.
        look: gives the scores on val.
        device: where the model is.
        keep: what model.safetensors is to hold, called whenever val was never better.
    """
    with quiet():
        import datasets
        from transformers import PrinterCallback, TrainerCallback
        from trl import DPOConfig, DPOTrainer

    datasets.disable_progress_bars()
    steps = cfg.max_steps or cfg.epochs * cfg.steps_per_epoch
    pairs = datasets.Dataset.from_list([
        {"prompt": pair.messages, "chosen": [{"role": "assistant", "content": pair.chosen}],
         "rejected": [{"role": "assistant", "content": pair.rejected}]}
        for pair in train.items
    ])  # fmt: skip
    rows: list[runs.Row] = []

    class Journal(TrainerCallback):
        """Looks at val after every epoch, logs it, and keeps the best weights."""

        losses: tuple[float, int] = (0.0, 0)

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **more: Any) -> None:
            if logs and "loss" in logs:
                self.losses = (self.losses[0] + logs["loss"], self.losses[1] + 1)
                if not math.isfinite(logs["loss"]):
                    raise Diverged(logs["loss"], state.global_step, len(rows) + 1, f"Try --lr {cfg.lr / 5:g}.")

        def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
            if state.global_step % cfg.steps_per_epoch and state.global_step != steps:
                return
            scores = look()
            model.train()
            total, count = self.losses
            row = {"epoch": len(rows) + 1, "step": state.global_step, "train_loss": total / max(count, 1)}
            row |= {f"val_{name}": value for name, value in scores.items()}
            row["seconds"] = time.perf_counter() - began
            self.losses = (0.0, 0)
            log(row)
            rows.append(row)
            if run.best(rows) is row:
                run.save_model(keep())

    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        with quiet():
            settings = DPOConfig(
                output_dir=folder, loss_type=[LOSSES[cfg.loss]], beta=cfg.beta, max_length=cfg.max_len,
                learning_rate=cfg.lr, lr_scheduler_type="linear", warmup_steps=round(cfg.warmup * steps),
                max_steps=steps,
                per_device_train_batch_size=math.ceil(cfg.batch_size / cfg.accumulate),
                gradient_accumulation_steps=cfg.accumulate, max_grad_norm=cfg.clip, weight_decay=0.0, seed=cfg.seed,
                precompute_ref_log_probs=cfg.cache, gradient_checkpointing=False, use_cpu=device.name == "cpu",
                bf16=device.dtype == "bfloat16", fp16=device.dtype == "float16", report_to="none", save_strategy="no",
                logging_steps=1, logging_nan_inf_filter=False, disable_tqdm=True,
            )  # fmt: skip
            trainer = DPOTrainer(
                model=model, args=settings, train_dataset=pairs, processing_class=tokenizer, callbacks=[Journal()]
            )
        trainer.remove_callback(PrinterCallback)
        with run.log() as log:
            trainer.train()
    return run.best(rows), rows[-1]
