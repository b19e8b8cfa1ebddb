"""The same training by trl's SFTTrainer (--trainer trl): its loop, its collator and its optimiser, our log.

It keeps the loop to itself, so a run cannot be gone on with. Its defaults that matter are set to ours here: the loss on
the response alone, the schedule, 32 bits on a CPU.
"""

from collections.abc import Callable, Iterator
from typing import Any

from shared import chat_models, runs
from shared.device import Device
from shared.errors import CourseError
from shared.splits import Splits
from week09_lora.tokens import Encoded


def fit_with_trl(
    cfg: Any, sets: Splits, train: Encoded, val: Encoded, model: Any, tokenizer: Any, device: Device,
    run: runs.Run, evaluate: Callable[..., dict[str, float]],
) -> Iterator[runs.Row]:  # fmt: skip
    """Trains, and yields a row every --steps-per-epoch steps, as train.fit.

    Raises:
        CourseError: the run is to be gone on with.
    """
    if run.resumed_at:
        raise CourseError("--trainer trl keeps no state of the loop: start a new run, or take --trainer loop.")
    import tempfile
    import time

    with chat_models.quiet():
        import datasets
        from transformers import TrainerCallback
        from trl import SFTConfig, SFTTrainer
    steps, rows, states = cfg.max_steps or cfg.epochs * cfg.steps_per_epoch, [], []
    learning = chat_models.Learned(model)

    class Look(TrainerCallback):
        """Looks at val where our loop does."""

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
            if logs and "loss" in logs:
                seconds = time.perf_counter() - began
                rows.append({"epoch": len(rows) + 1, "step": state.global_step, "train_loss": float(logs["loss"]),
                             "val_loss": evaluate(model, val, device)["loss"], "seconds": seconds})  # fmt: skip
                states.append({name: tensor.clone() for name, tensor in learning.state_dict().items()})
                model.train()

    began = time.perf_counter()
    chosen = [sets.train.items[row] for row in train.rows]
    table = datasets.Dataset.from_list(
        [{"prompt": item.messages, "completion": [{"role": "assistant", "content": item.response}]} for item in chosen]
    )
    with tempfile.TemporaryDirectory() as folder, chat_models.quiet():
        options = SFTConfig(
            output_dir=folder, max_steps=steps, per_device_train_batch_size=max(1, cfg.batch_size // cfg.accumulate),
            gradient_accumulation_steps=cfg.accumulate, learning_rate=cfg.lr, lr_scheduler_type="cosine",
            warmup_steps=max(1, round(cfg.warmup * steps)), weight_decay=cfg.weight_decay,
            max_grad_norm=cfg.clip or float("inf"), max_length=cfg.max_len, completion_only_loss=True,
            gradient_checkpointing=cfg.checkpointing, logging_steps=cfg.steps_per_epoch, seed=cfg.seed,
            use_cpu=device.name == "cpu", bf16=device.dtype == "bfloat16", fp16=device.dtype == "float16",
            save_strategy="no", report_to="none", disable_tqdm=True, dataset_num_proc=None,
        )  # fmt: skip
        SFTTrainer(model, options, train_dataset=table, processing_class=tokenizer, callbacks=[Look()]).train()
    for row, state in zip(rows, states, strict=True):  # whoever keeps the best row keeps what belonged to it
        learning.load_state_dict(state)
        yield row
