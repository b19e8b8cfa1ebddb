"""Training in several processes: `torchrun --nproc-per-node 2 -m week08_gpt.train …`.

Every process has the whole model and takes its share of each step's windows; the gradients are averaged, so all take
the same step. The first process keeps the run; the others write nothing and say nothing.
"""

import io
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared import checkpoint, runs
from shared.errors import CourseError


class World:
    """All processes of this training: this one's `rank`, from 0, and their number `size`; 0 and 1 without torchrun."""

    def __init__(self) -> None:
        self.rank, self.size = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
        self.local = int(os.environ.get("LOCAL_RANK", 0))

    @contextmanager
    def joined(self, device: str) -> Iterator["World"]:
        """Inside `with`, the processes know each other, and all but the first are silent."""
        if self.size == 1:
            yield self
            return
        if device == "cuda":
            torch.cuda.set_device(self.local)
        torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo")
        said = sys.stdout
        try:
            if self.rank:
                sys.stdout = io.StringIO()
            yield self
        finally:
            sys.stdout = said
            torch.distributed.destroy_process_group()

    def share(self, count: int, what: str) -> int:
        """How many of `count` windows this process takes.

        Raises:
            CourseError: they cannot be dealt out evenly.
        """
        if count % self.size:
            raise CourseError(f"{what} {count} cannot be dealt out to {self.size} processes: make it a multiple.")
        return count // self.size

    def first(self, make: Callable[[], Any]) -> Any:
        """What `make` returns, called by the first process while the others wait, and then by these."""
        made = make() if self.rank == 0 else None
        self.wait()
        return made if self.rank == 0 else make()

    def only_first(self, make: Callable[[], Any]) -> Any:
        """Likewise, but the others do not call it at all: they get None."""
        made = make() if self.rank == 0 else None
        self.wait()
        return made

    def wait(self) -> None:
        if self.size > 1:
            torch.distributed.barrier()

    def shared(self, model: nn.Module) -> nn.Module:
        """The model, whose gradients are averaged over all processes."""
        if self.size == 1:
            return model
        return nn.parallel.DistributedDataParallel(model)

    def without_averaging(self, model: nn.Module) -> Any:
        """What all but the last backward pass of a step run in: their gradients add up and are averaged once."""
        return model.no_sync() if self.size > 1 else nullcontext()

    def mean(self, loss: Tensor) -> Tensor:
        """The mean of a number over all processes."""
        if self.size > 1:
            torch.distributed.all_reduce(loss)
            loss = loss / self.size
        return loss


class Follower:
    """A run as the processes behind the first have it: they read where it stands, and write nothing."""

    def __init__(self, folder: Path, cfg: Any) -> None:
        self.folder, self.cfg = folder, cfg

    def take_state(self) -> dict[str, Any]:
        path = self.folder / runs.CHECKPOINT
        return checkpoint.load(path) if self.cfg.resume and path.is_file() else {}

    def save(self, state: Any) -> None:
        """The first process does."""

    def stopped(self, what: str) -> BaseException:
        return KeyboardInterrupt()
