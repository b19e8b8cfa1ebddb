"""Fewer bits for a weight, to be read from top to bottom: int8, the NF4 levels, blocks, double quantisation, the error.

Everything here gives the numbers that bitsandbytes gives, code for code; training uses bitsandbytes itself, since its
kernels are fast.

References
    T. Dettmers et al., "LLM.int8()", arXiv:2208.07339, section 2: absmax quantisation, row by row
    T. Dettmers et al., "QLoRA", arXiv:2305.14314: section 3; appendix E for the 16 levels of NF4
    T. Dettmers, "8-bit approximations for parallelism in deep learning", arXiv:1511.04561: the dynamic 8-bit code
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float, Int8, UInt8
from torch import Tensor, nn

BLOCK = 64  # numbers that share a scale
SCALES = 256  # scales that share a scale of their own

# ---------------------------------------------------------------- 8 bits, row by row


def quantise_int8(weight: Float[Tensor, "rows columns"]) -> tuple[Int8[Tensor, "rows columns"], Float[Tensor, " rows"]]:
    """Absmax: each row is stretched so that its largest number becomes 127, and rounded. Returns codes and absmax."""
    absmax = weight.float().abs().amax(dim=1)
    codes = torch.round(weight.float() * (127 / absmax.clamp(min=1e-38))[:, None])
    return codes.to(torch.int8), absmax


def dequantise_int8(
    codes: Int8[Tensor, "rows columns"], absmax: Float[Tensor, " rows"]
) -> Float[Tensor, "rows columns"]:
    """The numbers that the codes stand for."""
    return codes.float() * (absmax / 127)[:, None]


# ---------------------------------------------------------------- the levels of 4 bits


def normal_levels(bits: int = 4) -> Float[Tensor, " levels"]:
    """Levels that a normally distributed number takes about equally often, from -1 to 1, with an exact 0 (NF4).

    Quantiles of the normal distribution at equal steps, made for both halves apart: one level more above zero than
    below, so that zero is one of them (section 3 of QLoRA). The outermost quantile is the mean of those that 2^k and
    2^k - 1 levels would have: the paper does not give it, bitsandbytes' 0.9677083 is this for 4 bits.
    """
    half, count = 2 ** (bits - 1), 2**bits
    outermost = 1 - (1 / (2 * count) + 1 / (2 * (count - 1))) / 2
    above = torch.special.ndtri(torch.linspace(outermost, 0.5, half + 1, dtype=torch.float64))
    below = -torch.special.ndtri(torch.linspace(outermost, 0.5, half, dtype=torch.float64))
    levels = torch.cat([below, above[:-1].flip(0)])  # both end in 0: once is enough
    return (levels / levels.max()).float()


def integer_levels(bits: int) -> Float[Tensor, " levels"]:
    """Equal steps from -1 to 1: what absmax rounding to a whole number has."""
    most = 2 ** (bits - 1) - 1
    return torch.arange(-most, most + 1) / most


# Appendix E of QLoRA: the levels as everybody has them, to the last bit. normal_levels() gives them up to rounding.
NF4 = torch.tensor([
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
])  # fmt: skip


@cache
def dynamic_levels() -> Float[Tensor, " 256"]:
    """256 levels for numbers of very different sizes: 7 decades, each with twice as many levels as the one below it
    (arXiv:1511.04561, as bitsandbytes has it). Double quantisation stores the scales so."""
    positive = []
    for decade in range(7):
        edges = torch.linspace(0.1, 1, 2**decade + 1)
        positive += (10.0 ** (decade - 6) * (edges[:-1] + edges[1:]) / 2).tolist()
    return torch.tensor(sorted([-x for x in positive] + [0.0, 1.0] + positive))


# ---------------------------------------------------------------- blocks


def in_blocks(numbers: Tensor, size: int) -> Float[Tensor, "blocks size"]:
    """All numbers in rows of `size`, in the order in which they lie in memory; the last row is filled up with zeros."""
    flat = numbers.flatten().float()
    return nn.functional.pad(flat, (0, -len(flat) % size)).view(-1, size)


def nearest(x: Tensor, levels: Float[Tensor, " levels"]) -> UInt8[Tensor, "..."]:
    """The number of the level that is nearest; levels rise, and in the middle between two the lower one is taken."""
    return torch.bucketize(x.contiguous(), (levels[:-1] + levels[1:]) / 2).to(torch.uint8)


def quantise_blocks(
    numbers: Tensor, levels: Float[Tensor, " levels"] = NF4, size: int = BLOCK
) -> tuple[UInt8[Tensor, " numbers"], Float[Tensor, " blocks"]]:
    """Codes of all numbers, and the scale of each block.

    Args:
        numbers: of any shape.
        levels: from -1 to 1, rising.
        size: how many numbers share a scale; the last block may have fewer.
    """
    # exercise 3: NF4, block by block
    # numbers of any shape, levels (count,) from -1 to 1, rising -> (codes, absmax). Codes: for each number, in the
    # order in which they lie in memory, which level it is nearest to, as torch.uint8. absmax (blocks,): the largest
    # absolute value of each block of `size` numbers, float32; levels are for x / absmax. The last block may have fewer
    # numbers. A block of zeros must not give NaN.
    # hint: in_blocks and nearest, further up, do most of it: one scale for each row of blocks. A scale of zero is made
    # 1e-38 before anything is divided by it. What in_blocks has filled up at the end are no numbers of yours. For the
    # last bit: bitsandbytes multiplies by 1 over the scale.
    blocks = in_blocks(numbers, size)
    absmax = blocks.abs().amax(dim=1)
    codes = nearest(blocks * (1 / absmax.clamp(min=1e-38))[:, None], levels)
    return codes.flatten()[: numbers.numel()], absmax
    # end of exercise 3


def dequantise_blocks(
    codes: UInt8[Tensor, " numbers"], absmax: Float[Tensor, " blocks"], levels: Float[Tensor, " levels"] = NF4,
    size: int = BLOCK,
) -> Float[Tensor, " numbers"]:  # fmt: skip
    """The numbers that the codes stand for: a level, times the scale of its block."""
    levels = levels.to(codes.device)
    return levels[codes.long()] * absmax.repeat_interleave(size)[: len(codes)]


# ---------------------------------------------------------------- a matrix in 4 bits


@dataclass(frozen=True)
class Quantised:
    """A matrix in NF4, with double quantisation: 4 + 8/64 + 32/(64 · 256) = 4.127 bits for each number.

    Attributes:
        packed: two codes in a byte, the first in the upper four bits; (numbers / 2, rounded up).
        scales: the code of each block's absmax, less `mean`; (blocks,).
        scale_absmax: a float32 for each 256 of these.
        mean: of all absmax. What is coded is the rest, which has both signs.
        shape: of the matrix.
    """

    packed: UInt8[Tensor, " bytes"]
    scales: UInt8[Tensor, " blocks"]
    scale_absmax: Float[Tensor, " groups"]
    mean: Float[Tensor, ""]
    shape: torch.Size

    @property
    def bytes(self) -> int:
        """What it takes in memory, the table of levels left out."""
        return len(self.packed) + len(self.scales) + 4 * len(self.scale_absmax) + 4

    def absmax(self) -> Float[Tensor, " blocks"]:
        """The scales, as they come back."""
        levels = dynamic_levels().to(self.scales.device)
        return dequantise_blocks(self.scales, self.scale_absmax, levels, SCALES) + self.mean

    def dequantise(self) -> Float[Tensor, "..."]:
        """The matrix that the codes stand for, float32 (equation 6 of QLoRA)."""
        codes = unpack(self.packed)[: self.shape.numel()]
        return dequantise_blocks(codes, self.absmax()).view(self.shape)


def quantise_nf4(weight: Float[Tensor, "..."]) -> Quantised:
    """A matrix in NF4 with double quantisation, as BitsAndBytesConfig(bnb_4bit_use_double_quant=True) makes it."""
    codes, absmax = quantise_blocks(weight)
    mean = absmax.mean()
    scales, scale_absmax = quantise_blocks(absmax - mean, dynamic_levels().to(absmax.device), SCALES)
    return Quantised(pack(codes), scales, scale_absmax, mean, weight.shape)


def pack(codes: UInt8[Tensor, " numbers"]) -> UInt8[Tensor, " bytes"]:
    """Two codes of 4 bits in a byte, the first in the upper half; an odd one gets the code of zero beside it."""
    codes = nn.functional.pad(codes, (0, len(codes) % 2), value=int(nearest(torch.zeros(1), NF4)))
    return (codes[::2] << 4) | codes[1::2]


def unpack(packed: UInt8[Tensor, " bytes"]) -> UInt8[Tensor, " numbers"]:
    """The codes again, one in a byte."""
    return torch.stack([packed >> 4, packed & 15], dim=1).flatten()


# ---------------------------------------------------------------- what it costs


def rms(x: Tensor) -> float:
    """Root of the mean square."""
    return float(x.double().square().mean().sqrt())


def errors(weight: Float[Tensor, "rows columns"]) -> list[tuple[str, float, float]]:
    """(name, bits for each number, rms error over rms of the weight) of every way to store a matrix that is here."""
    found, size = [], rms(weight)

    def add(name: str, bits: float, restored: Tensor) -> None:
        found.append((name, bits, rms(restored.view_as(weight) - weight) / size))

    add("int8, row by row", 8 + 32 / weight.shape[1], dequantise_int8(*quantise_int8(weight)))
    for bits in range(2, 9):
        for name, levels in (("int", integer_levels(bits)), ("NF", normal_levels(bits))):
            codes, absmax = quantise_blocks(weight, levels)
            add(f"{name}{bits}, blocks of {BLOCK}", bits + 32 / BLOCK, dequantise_blocks(codes, absmax, levels))
    for block in (32, 256, 1024, 4096):
        codes, absmax = quantise_blocks(weight, NF4, block)
        add(f"NF4, blocks of {block}", 4 + 32 / block, dequantise_blocks(codes, absmax, NF4, block))
    whole = quantise_nf4(weight)
    add("NF4, double quantisation", 8 * whole.bytes / weight.numel(), whole.dequantise())
    return found


@torch.no_grad()
def round_to_nf4(model: nn.Module) -> None:
    """Gives every linear layer but the head the weights that NF4 would make of them, in the dtype that it has.

    It then computes what bitsandbytes' layers of 4 bits compute, without their memory and without their kernels.
    """
    from week09_lora.model import head_of, linear_layers

    head = head_of(model)
    for layer in linear_layers(model).values():
        if layer is not head:
            layer.weight.copy_(quantise_nf4(layer.weight).dequantise())
