"""How this processor multiplies bytes, and where that goes wrong.

AVX2 has one instruction for it, VPMADDUBSW: unsigned times signed bytes, and each two neighbouring products added up
in 16 bits, saturating. 255 · 127 + 255 · 127 = 64,770, and 32,767 is the largest number there. VNNI (AVX-512 VNNI,
AVX-VNNI) adds four products up in 32 bits, where nothing can overflow. Weights of 7 bits fit either way: 2 · 255 · 64 =
32,640.

References
    Intel, Intrinsics guide: _mm256_maddubs_epi16, _mm256_dpbusd_epi32
    onnxruntime, "Quantize ONNX models": when to use reduce_range (onnxruntime.ai)
"""

import platform
from pathlib import Path

import numpy as np
from jaxtyping import Int8, Int32, UInt8

VNNI = ("avx512_vnni", "avx_vnni", "avx10_vnni_int", "amx_int8")
LARGEST = 2**15 - 1  # of 16 bits with a sign


def flags() -> frozenset[str]:
    """What the processor can do, as Linux names it in /proc/cpuinfo; nothing where that is not to be had."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.partition(":")[2].split()) for line in lines if line.startswith("flags")), frozenset())


def saturates(has: frozenset[str] | None = None, machine: str = "") -> bool | None:
    """Whether products of bytes may overflow 16 bits here: on x86 with AVX2 and without VNNI. None: nobody can tell."""
    has = flags() if has is None else has
    if (machine or platform.machine()).lower() not in ("x86_64", "amd64"):
        return False  # ARM's UDOT and SMMLA add up in 32 bits
    return "avx2" in has and not has.intersection(VNNI) if has else None


def in_words() -> str:
    """The same for a reader: `AVX2 without VNNI: …`."""
    found = saturates()
    if found is None:
        return f"{platform.machine()}, whose flags this system does not tell: weights of 7 bits are safe on all"
    if not found:
        units = sorted(flags().intersection(VNNI)) or [platform.machine()]
        return f"{', '.join(units)}: products of bytes are added up in 32 bits, and nothing overflows"
    return "AVX2 without VNNI: products of bytes are added up in pairs in 16 bits, and weights of 8 bits overflow"


def in_pairs(a: UInt8[np.ndarray, "rows k"], b: Int8[np.ndarray, "k columns"]) -> Int32[np.ndarray, "rows columns"]:
    """a @ b as VPMADDUBSW has it: each two products are added up in 16 bits, and saturate; all pairs in 32 bits."""
    if a.shape[1] % 2:
        a, b = np.pad(a, ((0, 0), (0, 1))), np.pad(b, ((0, 1), (0, 0)))
    total = np.zeros((a.shape[0], b.shape[1]), np.int32)
    for k in range(0, a.shape[1], 2):
        pair = a[:, k : k + 2].astype(np.int32) @ b[k : k + 2].astype(np.int32)
        total += np.clip(pair, -LARGEST - 1, LARGEST)
    return total
