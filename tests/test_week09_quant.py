"""Week 9's quantisation: by hand, what must hold of it, and code for code what bitsandbytes has.

The tests marked `exercise(K)` are what `./course check 9` holds a learner's piece K to.
"""

import pytest
import torch
from programs import Lazily, close

from week09_lora import quant as week

bnb = Lazily("bitsandbytes.functional")


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


def weight(rng, rows, columns):
    """As in a network: nearly normal, rows of different sizes, and one number that is far too large."""
    found = 0.02 * torch.randn(rows, columns, generator=rng) * (0.2 + torch.rand(rows, 1, generator=rng))
    found[0, 3] = 0.5
    return found


# ---------------------------------------------------------------- exercise 3: NF4, block by block


@pytest.mark.exercise(3)
def test_a_block_by_hand():
    """Largest absolute value 4, so x / absmax is -1, 0.25, 0 and 0.8: levels 0, 10 (0.246), 7 (0) and 14 (0.723)."""
    answer = week.quantise_blocks(torch.tensor([-4.0, 1.0, 0.0, 3.2]), size=4)
    assert isinstance(answer, tuple) and len(answer) == 2, f"it returns {answer!r:.40}, should be (codes, absmax)"
    codes, absmax = answer
    assert absmax.tolist() != [pytest.approx(3.2)], (
        "absmax is 3.2, the largest, should be 4, the largest absolute value"
    )
    close(absmax, torch.tensor([4.0]), "of the block (-4, 1, 0, 3.2), absmax")
    assert codes.dtype == torch.uint8, f"the codes are {codes.dtype}, should be torch.uint8"
    assert codes.tolist() == [0, 10, 7, 14], f"the codes are {codes.tolist()}, should be [0, 10, 7, 14]"


@pytest.mark.exercise(3)
def test_each_block_has_its_own_scale():
    """Two numbers a block: 1 and 2, then 10 and 40."""
    codes, absmax = week.quantise_blocks(torch.tensor([[1.0, 2.0], [10.0, 40.0]]), size=2)
    assert absmax.shape == (2,), f"absmax has the shape {tuple(absmax.shape)}, should be (2,): one for each block"
    assert absmax.tolist() != [40.0, 40.0], "both blocks have the scale 40, should each have its own"
    close(absmax, torch.tensor([2.0, 40.0]), "of two blocks, absmax")
    assert codes.tolist() == [12, 15, 10, 15], f"the codes are {codes.tolist()}, should be [12, 15, 10, 15]"


@pytest.mark.exercise(3)
def test_a_last_block_that_is_not_full(rng):
    numbers = torch.randn(7, generator=rng)
    codes, absmax = week.quantise_blocks(numbers, size=4)
    assert len(absmax) != 1, "7 numbers in blocks of 4 give 1 scale: the last block, which is not full, is left out"
    assert len(absmax) == 2 and len(codes) == 7, f"{len(codes)} codes, {len(absmax)} scales, not 7 and 2"
    close(absmax[1], numbers[4:].abs().max(), "the last block's absmax")
    alone = week.quantise_blocks(numbers[4:].clone(), size=4)[0]
    assert codes[4:].tolist() == alone.tolist(), "the last block, which is not full, has other codes than alone"


@pytest.mark.exercise(3)
def test_a_block_of_zeros():
    numbers = torch.cat([torch.zeros(4), torch.ones(4)])
    codes, absmax = week.quantise_blocks(numbers, size=4)
    assert codes[:4].tolist() == [7] * 4, f"a block of zeros is divided by 0: its codes are {codes[:4].tolist()}, not 7"
    close(week.dequantise_blocks(codes, absmax, size=4), numbers, "zeros and ones, there and back: the result", 0)


@pytest.mark.exercise(3)
@pytest.mark.parametrize("size", [32, 64, 256])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_codes_and_scales_equal_bitsandbytes(size, dtype, rng):
    numbers = weight(rng, 37, 50).to(dtype)  # 1,850 numbers: no whole count of blocks
    packed, state = bnb.quantize_4bit(numbers, blocksize=size, quant_type="nf4")
    codes, absmax = week.quantise_blocks(numbers, size=size)
    assert torch.equal(absmax, state.absmax), "absmax is not bitsandbytes'"
    assert torch.equal(week.pack(codes), packed.flatten()), "the codes are not bitsandbytes'"


# ---------------------------------------------------------------- the rest


def test_levels_are_quantiles_of_the_normal_distribution():
    close(week.normal_levels(), week.NF4, "the levels", 1e-6)
    assert torch.equal(week.NF4, bnb.get_4bit_type("nf4", device="cpu"))
    assert torch.equal(week.dynamic_levels(), bnb.create_dynamic_map())
    for bits in range(2, 9):
        levels = week.normal_levels(bits)
        assert len(levels) == 2**bits and 0 in levels and levels.min() == -1 and levels.max() == 1
        assert torch.equal(levels, levels.sort().values) and len(levels.unique()) == 2**bits
        assert len(week.integer_levels(bits)) == 2**bits - 1


def test_int8_equals_bitsandbytes(rng):
    numbers = weight(rng, 9, 33)
    codes, absmax, _ = bnb.int8_vectorwise_quant(numbers.half())
    ours = week.quantise_int8(numbers.half())
    assert torch.equal(ours[0], codes) and torch.equal(ours[1], absmax)
    close(week.dequantise_int8(*ours), bnb.int8_vectorwise_dequant(codes, absmax), "numbers", 1e-6)
    assert not week.dequantise_int8(*week.quantise_int8(torch.zeros(2, 3))).any()


@pytest.mark.parametrize("shape", [(96, 64), (70, 192), (37, 128)])
def test_nf4_with_double_quantisation_equals_bitsandbytes(shape, rng):
    """bitsandbytes looks the codes of scales up in a table on a CPU, and so misses the nearest one now and then."""
    numbers = weight(rng, *shape)
    packed, state = bnb.quantize_4bit(numbers, quant_type="nf4", compress_statistics=True)
    ours = week.quantise_nf4(numbers)
    assert torch.equal(ours.packed, packed.flatten())
    assert torch.equal(ours.scale_absmax, state.state2.absmax) and torch.equal(ours.mean, state.offset)
    assert ((ours.scales.int() - state.absmax.int()).abs() <= 1).float().mean() > 0.95
    again = week.Quantised(ours.packed, state.absmax, ours.scale_absmax, ours.mean, ours.shape)
    close(again.dequantise(), bnb.dequantize_4bit(packed, state), "numbers from the same codes", 1e-7)
    scales = week.quantise_blocks(numbers)[1]
    theirs = week.rms(again.absmax() - scales)
    assert week.rms(ours.absmax() - scales) <= theirs * (1 + 1e-6), "ours must be the nearest codes"


def test_packing():
    codes = torch.tensor([1, 2, 15], dtype=torch.uint8)
    assert week.pack(codes).tolist() == [0x12, 0xF7]  # the first in the upper half; an odd one beside zero
    assert week.unpack(week.pack(codes)).tolist() == [1, 2, 15, 7]


def test_bits_and_errors(rng):
    numbers = torch.randn(128, 512, generator=rng)
    found = {name: (bits, error) for name, bits, error in week.errors(numbers)}
    assert found["NF4, double quantisation"][0] == pytest.approx(4 + 8 / 64 + 32 / (64 * 256), abs=1e-3)
    assert found["NF4, blocks of 64"][1] < found["int4, blocks of 64"][1], "of normal numbers NF4 loses less"
    assert found["NF4, double quantisation"][1] < 1.02 * found["NF4, blocks of 64"][1]
    sizes = [found[f"NF4, blocks of {size}"][1] for size in (32, 64, 256, 1024, 4096)]
    assert sizes == sorted(sizes)
    assert week.quantise_nf4(numbers).bytes < 8 * numbers.numel() * 4 / 8 / 7.7


def test_a_model_rounded_to_nf4_keeps_its_head(rng):
    model = torch.nn.Sequential(torch.nn.Linear(64, 8), torch.nn.Linear(8, 64))
    model.get_output_embeddings = lambda: model[1]
    before = [one.weight.clone() for one in model]
    week.round_to_nf4(model)
    assert torch.equal(model[0].weight, week.quantise_nf4(before[0]).dequantise())
    assert torch.equal(model[1].weight, before[1])
    once = model[0].weight.clone()
    week.round_to_nf4(model)
    close(model[0].weight, once, "rounded twice", 0.01)
