"""Out of memory, in one line: which three flags to change, in what order, and what each of them saves.

with oom.told(cfg):
    train(cfg)
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from shared.errors import CourseError


@contextmanager
def told(cfg: Any) -> Iterator[None]:
    """Inside `with`, memory that has run out is a CourseError, on a GPU and on a CPU."""
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError):
        pass
    except RuntimeError as error:
        if "allocate memory" not in str(error) and "out of memory" not in str(error):
            raise
    else:
        return
    raise CourseError(line(cfg))  # outside `except`, so that what the traceback holds is free again


def need(cfg: Any) -> float:
    """Bytes that a training with this config takes at its peak, by memory.py."""
    from shared.device import choose
    from week09_lora import memory

    device = choose(cfg.device)
    optimizer = cfg.optimizer
    if optimizer == "auto":
        optimizer = "paged_adamw8bit" if device.name == "cuda" and cfg.quantize != "none" else "adamw"
    return memory.predict(
        memory.shape_of(cfg.model), cfg.rank, cfg.batch_size, cfg.max_len, cfg.quantize,
        device.dtype if cfg.rank else "float32", cfg.checkpointing, cfg.accumulate, optimizer, targets_of(cfg),
    ).peak  # fmt: skip


def targets_of(cfg: Any) -> str | list[str]:
    """--targets as model.inject takes them."""
    return "all-linear" if cfg.targets == ("all-linear",) else list(cfg.targets)


def steps(cfg: Any) -> list[tuple[str, Any]]:
    """(what to type, the config with it and with those before it), what costs least first: at most three."""
    found: list[tuple[str, Any]] = []

    def then(typed: str, **flags: Any) -> None:
        before = found[-1][1] if found else cfg
        found.append((typed, replace(before, **flags)))

    if not cfg.checkpointing:  # a third more time, the same step
        then("--checkpointing", checkpointing=True)
    if cfg.accumulate < cfg.batch_size:  # hardly more time, the same step
        more = min(cfg.batch_size, 2 * cfg.accumulate)
        then(f"--accumulate {more}", accumulate=more)
    if cfg.quantize != "nf4" and cfg.rank:
        then("--quantize nf4", quantize="nf4")
    if cfg.max_len > 64:  # longer examples are left out
        then(f"--max-len {cfg.max_len // 2}", max_len=cfg.max_len // 2)
    if cfg.rank > 4:
        then(f"--rank {cfg.rank // 2}", rank=cfg.rank // 2)
    return found[:3]


def line(cfg: Any) -> str:
    """The three flags, and what each of them saves where those before it are given."""
    have, told = need(cfg), []
    for flag, lower in steps(cfg):
        now = need(lower)
        told.append(f"{flag} saves {(have - now) / 2**30:.2g} GiB")
        have = now
    return f"out of memory. Change, in this order: {', '.join(told)}. ./course run 9 memory says what fits."
