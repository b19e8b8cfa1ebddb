"""Week 12's affine quantisation: by hand, and to the last number what onnxruntime's own operators make of it."""

from functools import cache

import numpy as np
import pytest
from programs import close

from week12_deploy import cpu
from week12_deploy.quantise import (
    INT8,
    REDUCED,
    SYMMETRIC,
    UINT8,
    dequantise,
    quantise,
    range_of,
    scale_and_zero_point,
    there_and_back,
)

F = np.float32


def as_f32(*values):
    return tuple(np.asarray(value, F) for value in values)


def is_array(found, shape, dtype, what):
    assert isinstance(found, np.ndarray | np.generic), (
        f"{what} is {found!r:.40}, should be an array: is `return` missing?"
    )
    assert (found.shape, found.dtype) == (shape, dtype), (
        f"{what} is {found.dtype} of shape {found.shape}, should be {np.dtype(dtype)} of shape {shape}"
    )


@cache
def session(operator, **options):
    """onnxruntime with one operator in it. What it is given later, it is given as inputs."""
    import onnxruntime
    from onnx import TensorProto as T
    from onnx import helper

    kinds = {"f": T.FLOAT, "u": T.UINT8, "s": T.INT8, "i": T.INT32}
    options = dict(options)
    inputs, outputs = (options.pop(name) for name in ("inputs", "outputs"))
    ins = [helper.make_tensor_value_info(f"x{n}", kinds[kind], None) for n, kind in enumerate(inputs)]
    outs = [helper.make_tensor_value_info(f"y{n}", kinds[kind], None) for n, kind in enumerate(outputs)]
    node = helper.make_node(operator, [i.name for i in ins], [o.name for o in outs], **options)
    model = helper.make_model(
        helper.make_graph([node], "one", ins, outs), opset_imports=[helper.make_opsetid("", 19)], ir_version=10
    )
    quiet = onnxruntime.SessionOptions()
    quiet.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), quiet, providers=["CPUExecutionProvider"])


def theirs(operator, *arrays, **options):
    """What onnxruntime's operator makes of these arrays."""
    kinds = {"float32": "f", "uint8": "u", "int8": "s", "int32": "i"}
    options["inputs"] = "".join(kinds[array.dtype.name] for array in arrays)
    return session(operator, **options).run(None, {f"x{n}": array for n, array in enumerate(arrays)})


# ---------------------------------------------------------------- by hand


@pytest.mark.exercise(1)
def test_the_range_by_hand_and_0_is_always_in_it():
    low, high = range_of(np.array([[1.5, -0.5], [0.25, 3.0]], F))
    is_array(low, (), F, "low of the whole")
    assert (low, high) == (-0.5, 3.0)
    low, high = range_of(np.array([2.0, 5.0], F))
    assert (low, high) == (0.0, 5.0), f"numbers from 2 to 5 have the range {low:g} to {high:g}: 0 is not in it"
    assert range_of(np.array([-2.0, -5.0], F)) == (-5.0, 0.0)


@pytest.mark.exercise(1)
def test_the_range_of_each_channel():
    x = np.array([[1.0, -8.0, 0.5], [2.0, 4.0, -0.25]], F)
    low, high = range_of(x, axis=1)
    is_array(low, (3,), F, "low with axis=1, of an array of shape (2, 3)")
    assert low.tolist() == [0.0, -8.0, -0.25] and high.tolist() == [2.0, 4.0, 0.5]
    low, high = range_of(x, axis=0)
    assert low.tolist() == [-8.0, -0.25] and high.tolist() == [1.0, 4.0], "the channels of axis 0 are the rows"
    assert range_of(np.zeros((2, 3, 4), F), axis=-1)[0].shape == (4,)


@pytest.mark.exercise(1)
def test_scale_and_zero_point_by_hand():
    scale, zero = scale_and_zero_point(*as_f32(-1.0, 4.1), UINT8)
    is_array(scale, (), F, "the scale")
    is_array(zero, (), np.uint8, "the zero point")
    close(scale, 0.02, "scale of -1 to 4.1 on 0 to 255: 5.1 / 255,")
    assert zero == 50, f"the zero point of -1 to 4.1 on 0 to 255 is 0 - (-1) / 0.02 = 50, not {zero}"
    _, zero = scale_and_zero_point(*as_f32(-1.0, 4.1), INT8)
    assert zero == -78, f"on -128 to 127 it is -128 + 50 = -78, not {zero}"
    scale, zero = scale_and_zero_point(*as_f32(-1.0, 6.4), REDUCED, symmetric=True)
    close(scale, 0.1, "scale of -6.4 to 6.4 on -64 to 64,")
    assert zero == 0, "the middle of the grid"
    assert scale_and_zero_point(*as_f32(0, 0), UINT8) == (1.0, 0), "where all numbers are 0: scale 1"


@pytest.mark.exercise(1)
def test_quantise_by_hand():
    scale, zero = F(0.5), np.uint8(10)
    x = np.array([0.0, 0.5, -1.0, 2.25], F)
    found = quantise(x, scale, zero, UINT8)
    is_array(found, (4,), np.uint8, "quantise")
    assert found.tolist() == [10, 11, 8, 14], f"[0, 0.5, -1, 2.25] / 0.5 + 10 is [10, 11, 8, 14.5 -> 14], not {found}"


@pytest.mark.exercise(1)
def test_a_half_goes_to_the_even_neighbour():
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4, 2.6, -2.6], F)
    found = quantise(x, F(1.0), np.int8(0), INT8).tolist()
    assert found != [0, 1, 2, 0, -1, 2, 2, -2], "parts of a step are cut off, not rounded: 2.6 becomes 2"
    assert found == [0, 2, 2, 0, -2, 2, 3, -3], f"0.5, 1.5, 2.5 become 0, 2, 2 (to the even one), not {found[:3]}"


@pytest.mark.exercise(1)
def test_what_lies_beyond_the_grid_becomes_its_end():
    found = quantise(np.array([200.0, -200.0, 1e9, -1e9], F), F(1.0), np.int8(0), INT8).tolist()
    assert found == [127, -128, 127, -128], (
        f"200 and -200 in int8 are its ends, 127 and -128, not {found[:2]}: it wraps"
    )
    assert quantise(np.array([300.0, -1.0], F), F(1.0), np.uint8(0), UINT8).tolist() == [255, 0]
    assert quantise(np.array([9.0, -9.0], F), F(0.1), np.int8(0), REDUCED).tolist() == [64, -64], "of 7 bits, too"


@pytest.mark.exercise(1)
def test_dequantise_by_hand():
    found = dequantise(np.array([3, 5, 255], np.uint8), F(0.5), np.uint8(5))
    is_array(found, (3,), F, "dequantise")
    assert found[0] != 127.0, "3 - 5 in uint8 is 254: the difference wraps around, take int32"
    assert found.tolist() == [-1.0, 0.0, 125.0]
    found = dequantise(np.array([-128, 127], np.int8), F(1.0), np.int8(100))
    assert found.tolist() == [-228.0, 27.0], "-128 - 100 in int8 is 28: the difference wraps around, take int32"


@pytest.mark.exercise(1)
def test_each_channel_has_its_own_scale():
    x = np.array([[100.0, 0.01], [-50.0, 0.02], [25.0, -0.04]], F)
    each = there_and_back(x, SYMMETRIC, symmetric=True, axis=1)
    assert np.abs(each - x).max(axis=0) == pytest.approx([0, 0], abs=0.5 * 100 / 127)
    assert np.abs(each - x)[:, 1].max() <= 0.5 * 0.04 / 127 * 1.01, "the small channel is lost in the large one's scale"
    assert not there_and_back(x, SYMMETRIC, symmetric=True)[:, 1].any(), "with one scale for both it is"


# ---------------------------------------------------------------- onnxruntime's operators


def some(seed, shape=(7, 33)):
    rng = np.random.default_rng(seed)
    return (rng.normal(size=shape) * rng.choice([0.01, 1, 50]) + rng.choice([-3, 0, 3])).astype(F)


@pytest.mark.exercise(1)
@pytest.mark.parametrize("grid", [UINT8, INT8], ids=lambda grid: grid.name)
def test_it_is_onnxruntimes_quantizelinear_and_dequantizelinear(grid):
    for seed in range(20):
        x = some(seed)
        scale, zero = scale_and_zero_point(*range_of(x * F(0.8)), grid)  # so that some of it lies beyond
        found = quantise(x, scale, zero, grid)
        kind = "u" if grid is UINT8 else "s"
        (expected,) = theirs("QuantizeLinear", x, np.asarray(scale), np.asarray(zero), outputs=kind)
        assert np.array_equal(found, expected), (
            f"{np.sum(found != expected)} of {x.size} numbers are not QuantizeLinear's"
        )
        (back,) = theirs("DequantizeLinear", expected, np.asarray(scale), np.asarray(zero), outputs="f")
        assert np.array_equal(dequantise(found, scale, zero), back), "not DequantizeLinear's numbers"


@pytest.mark.exercise(1)
@pytest.mark.parametrize("axis", [0, 1])
def test_it_is_onnxruntimes_per_channel_too(axis):
    for seed in range(10):
        x = some(seed, (5, 8))
        scale, zero = scale_and_zero_point(*range_of(x, axis), INT8)
        found = quantise(x, scale, zero, INT8, axis)
        (expected,) = theirs("QuantizeLinear", x, scale, zero, outputs="s", axis=axis)
        assert np.array_equal(found, expected), f"along axis {axis}: not QuantizeLinear's"
        (back,) = theirs("DequantizeLinear", expected, scale, zero, outputs="f", axis=axis)
        assert np.array_equal(dequantise(found, scale, zero, axis), back)


@pytest.mark.exercise(1)
def test_it_is_what_onnxruntime_does_to_activations_at_run_time():
    """DynamicQuantizeLinear: range, scale, zero point and numbers in one, before each product of a quantised net."""
    for seed in range(40):
        x = some(seed)
        scale, zero = scale_and_zero_point(*range_of(x), UINT8)
        numbers, their_scale, their_zero = theirs("DynamicQuantizeLinear", x, outputs="ufu")
        assert (scale, zero) == (their_scale, their_zero), f"{scale}, {zero}; onnxruntime: {their_scale}, {their_zero}"
        assert np.array_equal(quantise(x, scale, zero, UINT8), numbers)


def test_it_is_off_by_half_a_scale_at_most_and_0_is_exact():
    for seed in range(20):
        x = some(seed, (4, 6, 5))
        x[0, 0, 0] = 0
        for grid, symmetric, axis in (
            (UINT8, False, None),
            (INT8, False, 2),
            (REDUCED, True, 1),
            (SYMMETRIC, True, None),
        ):
            scale, _ = scale_and_zero_point(*range_of(x, axis), grid, symmetric)
            wide = scale if axis is None else scale.reshape([-1 if a == axis else 1 for a in range(3)])
            back = there_and_back(x, grid, symmetric, axis)
            assert np.all(np.abs(back - x) <= 0.5001 * wide + 1e-6) and back[0, 0, 0] == 0.0


# ---------------------------------------------------------------- how the processor multiplies


def test_pairs_saturate_by_hand():
    a, b = np.full((1, 4), 255, np.uint8), np.full((4, 1), 127, np.int8)
    assert cpu.in_pairs(a, b).item() == 2 * 32_767 and a.astype(int) @ b.astype(int) == 4 * 255 * 127
    assert cpu.in_pairs(a, np.full((4, 1), 64, np.int8)).item() == 4 * 255 * 64, "7 bits fit"
    assert cpu.in_pairs(a[:, :3], -b[:3]).item() == -32_768 - 255 * 127, "an odd one out"


def test_onnxruntime_multiplies_bytes_here_as_the_flags_of_the_processor_say():
    rng = np.random.default_rng(0)
    a = rng.integers(0, 256, (3, 64)).astype(np.uint8)
    full, reduced = (rng.integers(-most, most + 1, (64, 16)).astype(np.int8) for most in (127, 64))
    exact = a.astype(np.int32) @ full.astype(np.int32)
    expected = cpu.in_pairs(a, full) if cpu.saturates() else exact
    (found,) = theirs("MatMulInteger", a, full, outputs="i")
    assert np.array_equal(found, expected if cpu.saturates() is not None else found)
    assert (cpu.in_pairs(a, full) != exact).mean() > 0.5, "most sums of full-range numbers are wrong in pairs"
    (found,) = theirs("MatMulInteger", a, reduced, outputs="i")
    assert np.array_equal(found, a.astype(np.int32) @ reduced.astype(np.int32)), "with 7 bits all are right, anywhere"


@pytest.mark.parametrize(
    ("flags", "machine", "found"),
    [
        ({"avx2", "fma"}, "x86_64", True),
        ({"avx2", "avx512_vnni"}, "x86_64", False),
        ({"avx2", "avx_vnni"}, "AMD64", False),
        ({"sse2"}, "x86_64", False),
        ({"asimd"}, "aarch64", False),
        (set(), "x86_64", None),
    ],
)
def test_what_the_flags_say(flags, machine, found):
    assert cpu.saturates(frozenset(flags), machine) is found


def test_it_is_said_in_words():
    said = cpu.in_words()
    assert ("overflow" in said) and (("weights of 8 bits overflow" in said) == (cpu.saturates() is True))
