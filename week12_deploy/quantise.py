"""Numbers in eight bits: affine quantisation, per tensor and per channel, as onnxruntime's own operators do it.

    real = scale (whole - zero_point)

References
    B. Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
        CVPR 2018, arXiv:1712.05877: equation 1, section 2.1
    ONNX, operators QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear (onnx.ai/onnx/operators)
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, Integer

Reals = Float[np.ndarray, "*any"]
Wholes = Integer[np.ndarray, "*any"]
Each = Float32[np.ndarray, "*n"] | np.float32
"""A number for the whole array (shape ()), or one for each channel."""
EachWhole = Integer[np.ndarray, "*n"] | np.integer


@dataclass(frozen=True)
class Grid:
    """The whole numbers that a real one may become: from `low` to `high`, 0 among them."""

    low: int
    high: int
    name: str

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(self.name)


UINT8, INT8 = Grid(0, 255, "uint8"), Grid(-128, 127, "int8")
SYMMETRIC = Grid(-127, 127, "int8")  # weights: as far down as up, so that their zero point is 0
REDUCED = Grid(-64, 64, "int8")  # weights with a bit less: two products then fit into 16 bits (cpu.py)


def range_of(x: Reals, axis: int | None = None) -> tuple[Each, Each]:
    """The smallest and the largest number of an array, or of each channel along an axis; 0 always lies between them."""
    # exercise 1: affine int8, the range
    # x (any shape); axis None: the whole array, else the axis (-1: the last) whose channels have a range each ->
    # (low, high), float32: shape () for the whole, (channels,) for an axis. 0 lies in the range, whatever x is: it has
    # to be exact, since padding and masks are made of it.
    # hint: an axis that is kept gives one range a channel: take the extremes over all the other axes. Then widen the
    # range to 0, where 0 is not in it.
    others = tuple(place for place in range(x.ndim) if axis is None or place != axis % x.ndim)
    low, high = x.min(axis=others), x.max(axis=others)
    return np.minimum(low, 0).astype(np.float32), np.maximum(high, 0).astype(np.float32)
    # end of exercise 1


def scale_and_zero_point(
    low: Each, high: Each, grid: Grid = UINT8, symmetric: bool = False
) -> tuple[Each, EachWhole]:  # fmt: skip
    """How far two neighbours on the grid are apart, and which whole number stands for 0.

    Args:
        low, high: from range_of.
        grid: the whole numbers.
        symmetric: the range is made as wide downwards as upwards; the zero point is the middle of the grid.
    """
    # exercise 1: affine int8, the scale and the zero point
    # low <= 0 <= high, of one shape, and the grid -> (scale, zero_point) of that shape, float32 and grid.dtype. `low`
    # becomes grid.low and `high` becomes grid.high, as nearly as whole numbers allow. Symmetric: -a becomes grid.low
    # and a grid.high, where a is the larger of -low and high. Where low and high are both 0, the scale is 1.
    # hint: as many steps as the grid has lie between low and high. Where is 0 then, counted from grid.low? Round
    # that, and keep it on the grid. Symmetric: make the range as wide on both sides first.
    if symmetric:
        widest = np.maximum(-low, high)
        low, high = -widest, widest
    scale = (high - low) / np.float32(grid.high - grid.low)
    scale = np.where(scale > 0, scale, np.float32(1))
    zero_point = np.full_like(scale, (grid.low + grid.high) / 2) if symmetric else grid.low - low / scale
    return scale, np.clip(np.rint(zero_point), grid.low, grid.high).astype(grid.dtype)
    # end of exercise 1


def along(values: Each | EachWhole, ndim: int, axis: int | None) -> np.ndarray:
    """A number, or one a channel, in a shape that meets an array of `ndim` axes: (channels,) as (1, channels, 1)."""
    shape = [] if axis is None else [-1 if place == axis % ndim else 1 for place in range(ndim)]
    return np.asarray(values).reshape(shape)


def quantise(
    x: Reals, scale: Each, zero_point: EachWhole, grid: Grid = UINT8,
    axis: int | None = None,
) -> Wholes:  # fmt: skip
    """The whole numbers for real ones: divided by the scale, rounded (a half to the even neighbour), moved by the zero
    point; what lies beyond the grid becomes its end."""
    # exercise 1: affine int8, quantise
    # x (any shape), scale and zero_point (() or, with an axis, (channels,)), the grid -> grid.dtype, the shape of x.
    # 2.5 and 1.5 both become 2. What lies beyond the grid becomes its end, and does not come in again at the other one.
    # hint: divide and round, move by the zero point, cut off at both ends of the grid; only then take the small type,
    # which would wrap. `along` gives a channel's numbers the right shape.
    steps = np.rint(x / along(scale, x.ndim, axis)) + along(zero_point, x.ndim, axis).astype(np.float32)
    return np.clip(steps, grid.low, grid.high).astype(grid.dtype)
    # end of exercise 1


def dequantise(q: Wholes, scale: Each, zero_point: EachWhole, axis: int | None = None) -> Float32[np.ndarray, "*any"]:
    """The real numbers that whole ones stand for."""
    # exercise 1: affine int8, dequantise
    # q (any shape), scale and zero_point as above -> float32, the shape of q: scale (q - zero_point), exactly.
    # hint: 3 - 5 is 254 in uint8: subtract in int32.
    steps = q.astype(np.int32) - along(zero_point, q.ndim, axis).astype(np.int32)
    return steps.astype(np.float32) * along(scale, q.ndim, axis)
    # end of exercise 1


def there_and_back(x: Reals, grid: Grid = UINT8, symmetric: bool = False, axis: int | None = None) -> Reals:
    """What is left of real numbers when they have been whole ones: off by half a scale at most."""
    scale, zero_point = scale_and_zero_point(*range_of(x, axis), grid, symmetric)
    return dequantise(quantise(x, scale, zero_point, grid, axis), scale, zero_point, axis)
