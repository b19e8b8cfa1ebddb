"""How many operations a second a device can do, to tell which share of them a training makes use of."""

import time
from functools import cache

from shared.device import Device

# Dense bf16 or fp16 operations a second, from the makers' data sheets, by what the name of a GPU contains.
PUBLISHED = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L4": 121e12, "4090": 165e12, "T4": 65e12}


@cache
def peak_flops(device: Device, size: int = 1024, rounds: int = 20) -> float:
    """A GPU's published peak where it is known; else what its best product of two matrices reaches here."""
    import torch

    if device.name == "cuda":
        name = torch.cuda.get_device_name()
        for part, peak in PUBLISHED.items():
            if part in name and device.dtype != "float32":
                return peak
    a = torch.ones(size, size, device=device.name, dtype=getattr(torch, device.dtype))
    best = float("inf")
    for _ in range(rounds + 1):
        began = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best
