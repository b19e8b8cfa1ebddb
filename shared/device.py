"""Which device to compute on and in which number format, with the reason."""

import sys
from dataclasses import dataclass
from typing import Any

from shared.errors import CourseError


@dataclass(frozen=True)
class Device:
    """`name` as torch spells it (cpu, cuda, mps), `dtype` for autocast (float32, bfloat16, float16), and why."""

    name: str
    dtype: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}, {self.dtype} ({self.reason})"


def choose(wanted: str = "auto") -> Device:
    """Picks cuda, then mps, then cpu; bf16 where the hardware multiplies it, fp16 on older GPUs, else fp32.

    fp16 has a narrow range, so training in it needs loss scaling (Micikevicius et al. 2018, section 3.2), unlike bf16.
    A CPU stays in fp32, where results repeat bit for bit; without bf16 units bf16 is many times slower there.

    Raises:
        CourseError: the name is unknown, or the device is not there.
    """
    import torch

    if wanted not in ("auto", "cpu", "cuda", "mps"):
        raise CourseError(f"unknown device '{wanted}': choose auto, cpu, cuda or mps.")
    if wanted in ("auto", "cuda") and torch.cuda.is_available():
        name = torch.cuda.get_device_name()
        if torch.cuda.get_device_capability() >= (8, 0):
            return Device("cuda", "bfloat16", f"{name} multiplies bf16 in hardware")
        return Device("cuda", "float16", f"{name} has no bf16 units: fp16 with loss scaling")
    if wanted == "cuda":
        raise CourseError("no CUDA GPU that torch can use: leave --device at auto, or look at `./course doctor`.")
    if wanted in ("auto", "mps") and torch.backends.mps.is_available():
        return Device("mps", "float32", "Apple GPU")
    if wanted == "mps":
        raise CourseError("no Apple GPU here: leave --device at auto, or look at `./course doctor`.")
    keep_freed_memory()
    return Device("cpu", "float32", "asked for" if wanted == "cpu" else "no GPU found")


def keep_freed_memory() -> bool:
    """Lets glibc keep the memory of freed tensors for the next ones; says whether it did (it is there on Linux alone).

    It would hand the end of its heap back to the system, which clears each page anew at the next use: in week 8 that is
    7,000 page faults a step. See mallopt(3): M_TRIM_THRESHOLD is -1; M_MMAP_THRESHOLD, -3, is where glibc ends anyhow.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and mallopt(-1, 2**30) == 1 and mallopt(-3, 2**25) == 1


def autocast(device: Device) -> Any:
    """Computes in the device's dtype inside `with`, where that is safe; changes nothing where it is float32."""
    import torch

    return torch.autocast(device.name, getattr(torch, device.dtype), enabled=device.dtype != "float32")
