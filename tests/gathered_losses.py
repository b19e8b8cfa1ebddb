"""What test_week14_model.py runs beside itself: two gloo processes with half a batch each, our loss and open_clip's.

python gathered_losses.py FOLDER: reads FOLDER/batch.npz, writes FOLDER/0.npz and FOLDER/1.npz.
"""

import importlib.util
import itertools
import multiprocessing
import os
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
PROCESSES = 2
SWITCHES = list(itertools.product((False, True), (False, True)))  # local_loss, gather_with_grad


def open_clip_loss():
    """open_clip's ClipLoss out of its own file: importing all of open_clip takes 17 s."""
    package = importlib.util.find_spec("open_clip").submodule_search_locations[0]
    spec = importlib.util.spec_from_file_location("open_clip_loss", Path(package) / "loss.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.ClipLoss


def work(rank: int, folder: Path) -> None:
    """One of the processes."""
    from week14_clip.model import info_nce_across

    if sys.platform == "linux":
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    where = {"init_method": (folder / "meet").as_uri(), "rank": rank, "world_size": PROCESSES}
    torch.distributed.init_process_group("gloo", **where)
    batch, found = np.load(folder / "batch.npz"), {}
    for local_loss, with_grad in SWITCHES:
        theirs = open_clip_loss()(local_loss, with_grad, rank=rank, world_size=PROCESSES)
        losses = {
            "ours": lambda p, t, s, switches=(local_loss, with_grad): info_nce_across(p, t, s, *switches),
            "theirs": theirs,
        }
        for name, loss in losses.items():
            pictures, texts = (torch.from_numpy(batch[x]).chunk(PROCESSES)[rank] for x in ("pictures", "texts"))
            inputs = [pictures.clone().requires_grad_(), texts.clone().requires_grad_(),
                      torch.tensor(float(batch["scale"])).requires_grad_()]  # fmt: skip
            value = loss(*inputs)
            (value * float(batch["upstream"])).backward()
            key = f"{name}_{local_loss}_{with_grad}"
            found |= {f"{key}_{i}": x.grad.numpy() for i, x in enumerate(inputs)} | {f"{key}_loss": value.item()}
    np.savez(folder / f"{rank}.npz", **found)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    kind = "fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(kind)  # forked, torch is imported once
    workers = [context.Process(target=work, args=(rank, Path(sys.argv[1]))) for rank in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    sys.exit(max(abs(worker.exitcode) for worker in workers))
