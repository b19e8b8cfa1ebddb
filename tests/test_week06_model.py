"""Week 6's attention and Transformer against torch's own, forward and backward, and what must hold of any of them.

The tests marked `exercise(K)` are what `./course check 6` holds a learner's piece K to.
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from programs import close, refused
from torch import nn

from shared.sentence_pairs import PAD
from week06_transformer import attention as week
from week06_transformer.attention import Cache, MultiHeadAttention
from week06_transformer.model import (
    DecoderBlock,
    EncoderBlock,
    LayerNorm,
    RMSNorm,
    Transformer,
    TransformerConfig,
    count_parameters,
    layer_norm,
)

BATCH, QUERIES, KEYS, D_MODEL, HEADS = 2, 5, 7, 12, 3


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


def random(rng, *shape):
    return torch.randn(*shape, generator=rng).requires_grad_()


def same_gradients(ours, theirs, rng, tolerance=1e-5):
    """Both outputs pass the same random gradient back: ours = (out, {name: input}), theirs likewise."""
    (mine, inputs), (other, their_inputs) = ours, theirs
    upstream = torch.randn(other.shape, generator=rng)
    found = torch.autograd.grad(mine, list(inputs.values()), upstream)
    expected = torch.autograd.grad(other, list(their_inputs.values()), upstream)
    for name, a, b in zip(inputs, found, expected, strict=True):
        close(a, b, f"the gradient of {name}", tolerance)


def none_of(found, expected, slips, tolerance=1e-5):
    """Fails with the name of the first of these slips that explains what was found, where it is not as expected."""
    if isinstance(found, torch.Tensor) and found.shape == expected.shape:
        if torch.allclose(found, expected, atol=tolerance, rtol=tolerance):
            return
        for slip, wrong in slips.items():
            assert not torch.allclose(found, wrong, atol=1e-4, equal_nan=True), slip


# ---------------------------------------------------------------- exercise 1: scaled dot-product attention


@pytest.mark.exercise(1)
def test_attention_on_an_example_to_follow_by_hand():
    queries, keys = torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    values = torch.tensor([[10.0, 0.0], [0.0, 20.0]])
    result = week.attention(queries, keys, values)
    assert isinstance(result, tuple) and len(result) == 2, f"it returns {result!r:.30}, should be (found, weights)"
    found, weights = result
    right = torch.tensor([[0.66976155, 0.33023845]])  # e^0.7071 = 2.0281 and e^0 = 1, over their sum
    none_of(
        weights,
        right,
        {
            "the scores are not divided by sqrt(d_k): weights are 0.7311 and 0.2689, should be 0.6698 and 0.3302": (
                torch.tensor([[0.7310586, 0.2689414]])
            ),
            "the softmax goes over the queries: each weight is 1, should sum to one over the keys (dim=-1)": (
                torch.ones(1, 2)
            ),
        },
    )
    close(weights, right, "weights")
    close(found, right * torch.tensor([10.0, 20.0]), "the found")


@pytest.mark.exercise(1)
def test_each_query_has_weights_of_its_own_that_sum_to_one(rng):
    queries, keys, values = random(rng, 2, 3, 4), random(rng, 2, 6, 4), random(rng, 2, 6, 5)
    found, weights = week.attention(queries, keys, values)
    close(weights.sum(-1), torch.ones(2, 3), "the sum of a query's weights")
    assert found.shape == (2, 3, 5), f"the found has the shape {tuple(found.shape)}, should be (2, 3, 5)"


@pytest.mark.exercise(1)
def test_what_is_masked_gets_no_weight(rng):
    queries, keys, values = random(rng, 3, 4), random(rng, 4, 4), random(rng, 4, 5)
    mask = torch.tensor([[True, True, False, False], [True, False, True, False], [True, True, True, False]])
    _, weights = week.attention(queries, keys, values, mask)
    scores = queries @ keys.T / 2
    right = scores.masked_fill(~mask, float("-inf")).softmax(-1)
    none_of(
        weights,
        right,
        {
            "the mask is used the other way round: weight goes to where it is False, should go to where it is True": (
                scores.masked_fill(mask, float("-inf")).softmax(-1)
            ),
            "the mask comes after the softmax only: a query's weights no longer sum to one, should (mask the scores)": (
                scores.softmax(-1) * mask
            ),
        },
    )
    close(weights, right, "weights under a mask")


@pytest.mark.exercise(1)
def test_a_query_that_may_look_nowhere_finds_zeros_and_passes_no_nan_back(rng):
    inputs = [random(rng, 2, 3, 4) for _ in range(3)]
    mask = torch.tensor([[True, False, True], [False, False, False], [True, True, True]])
    found, weights = week.attention(*inputs, mask)
    where = "of a query whose whole row of the mask is False"
    close(found[:, 1], torch.zeros(2, 4), f"what is found {where}")
    close(weights[:, 1], torch.zeros(2, 3), f"the weights {where}")
    gradients = torch.autograd.grad(found.square().sum(), inputs)
    for gradient, name in zip(gradients, ("queries", "keys", "values"), strict=True):
        assert gradient.isfinite().all(), (
            f"the gradient of {name} has NaN in it, should be 0 where nothing was looked at"
        )


MASKS = [
    None,
    (1, KEYS),
    (QUERIES, KEYS),
    (BATCH, 1, 1, KEYS),
    (1, HEADS, QUERIES, KEYS),
    (BATCH, HEADS, QUERIES, KEYS),
]


@pytest.mark.exercise(1)
@pytest.mark.parametrize("shape", MASKS, ids=str)
def test_explicit_attention_equals_sdpa(shape, rng):
    q, k, v = (random(rng, BATCH, HEADS, time, 4) for time in (QUERIES, KEYS, KEYS))
    mask = None if shape is None else torch.rand(shape, generator=rng) > 0.4
    found, _ = week.attention(q, k, v, mask)
    expected = F.scaled_dot_product_attention(q, k, v, mask)
    close(found, expected, "the found", 1e-6)
    named = {"queries": q, "keys": k, "values": v}
    same_gradients((found, named), (expected, named), rng, 1e-6)


@pytest.mark.exercise(1)
def test_dropout_silences_weights_and_keeps_their_mean():
    torch.manual_seed(0)
    q = torch.zeros(1, 100, 4)
    _, weights = week.attention(q, q, q, dropout=0.25)
    values = sorted({round(value, 5) for value in weights.unique().tolist()})
    assert values == [0.0, round(0.01 / 0.75, 5)], f"weights of 0.01 become {values}, should be 0 or 0.01333"


# ---------------------------------------------------------------- exercise 2: heads


@pytest.mark.exercise(2)
def test_every_head_gets_its_piece_of_every_vector():
    x = torch.arange(24.0).reshape(1, 3, 8)  # three vectors: 0 to 7, 8 to 15, 16 to 23
    heads = week.split_heads(x, 2)
    right = torch.stack([x[0, :, :4], x[0, :, 4:]])[None]
    none_of(
        heads,
        right,
        {
            "the pieces of one vector lie in the place of several: the shape is right, and who says what when is mixed "
            "up; should be viewed as (batch, time, heads, head_dim), then transposed": x.view(1, 2, 3, 4)
        },
    )
    close(heads, right, "heads")


@pytest.mark.exercise(2)
@pytest.mark.parametrize(("heads", "time"), [(1, 4), (2, 3), (3, 5), (12, 2)])
def test_to_merge_is_to_undo_to_split(heads, time, rng):
    x = random(rng, BATCH, time, D_MODEL)
    pieces = week.split_heads(x, heads)
    size = (BATCH, heads, time, D_MODEL // heads)
    assert pieces.shape == size, f"heads have the shape {tuple(pieces.shape)}, should be {size}"
    close(week.merge_heads(pieces), x, "what was split and merged", 0)
    whole = week.merge_heads(pieces.contiguous())  # the same numbers, in another order in memory
    close(whole, x, "what was split, copied and merged", 0)


@pytest.mark.exercise(2)
def test_heads_do_not_see_each_others_pieces(rng):
    x = random(rng, 1, 3, D_MODEL)
    for head, piece in enumerate(week.split_heads(x, HEADS)[0]):
        (gradient,) = torch.autograd.grad(piece.sum(), x)
        reached = gradient[0].any(0).nonzero().flatten().tolist()
        right = list(range(4 * head, 4 * head + 4))
        assert reached == right, f"head {head} holds the columns {reached}, should hold {right}"


# ---------------------------------------------------------------- exercise 3: causal mask


@pytest.mark.exercise(3)
def test_causal_mask_of_three():
    mask = week.causal_mask(3, 3)
    assert getattr(mask, "dtype", None) == torch.bool, f"the mask is {mask!r:.40}, should be a tensor of torch.bool"
    right = [[True, False, False], [True, True, False], [True, True, True]]
    assert mask.tolist() != torch.tensor(right).T.tolist(), "the past is hidden and the future seen, should be reversed"
    assert mask.tolist() != (~torch.tensor(right)).tolist(), "True stands where it is hidden, should where one may look"
    assert mask[0, 0], "a token may not look at itself, should"
    assert mask.tolist() == right, f"the mask is {mask.int().tolist()}, should be {torch.tensor(right).int().tolist()}"


@pytest.mark.exercise(3)
@pytest.mark.parametrize(("queries", "keys"), [(1, 4), (2, 5), (4, 4), (1, 1)])
def test_the_queries_are_the_last_ones_of_the_keys(queries, keys):
    mask = week.causal_mask(queries, keys)
    assert mask.shape == (queries, keys), f"the mask has the shape {tuple(mask.shape)}, should be {(queries, keys)}"
    sees = mask.sum(dim=1).tolist()
    right = list(range(keys - queries + 1, keys + 1))
    assert sees == right, f"with {queries} queries and {keys} keys they see {sees} keys, should see {right}"
    assert mask[-1].all(), "the newest query does not see all that is kept, should"


# ---------------------------------------------------------------- exercise 4: positions


@pytest.mark.exercise(4)
def test_sinusoids_to_follow_by_hand():
    table = week.sinusoidal(3, 4)
    right = torch.tensor([[0, 1, 0, 1], [0.841471, 0.540302, 0.01, 0.99995], [0.909297, -0.416147, 0.019999, 0.9998]])
    places = torch.arange(3.0)[:, None]
    twice = torch.cat([f(places * rate) for rate in (1.0, 10000.0**-1) for f in (torch.sin, torch.cos)], dim=1)
    none_of(
        table,
        right,
        {
            "the second rate is 1 / 10000, should be 1 / 100: the 2 of 2i / d_model was counted twice": twice,
            "sines stand in one half and cosines in the other, should take turns": right[:, [0, 2, 1, 3]],
        },
    )
    close(table, right, "the table")


@pytest.mark.exercise(4)
@pytest.mark.parametrize(("length", "d_model", "start"), [(1, 2, 0), (50, 16, 0), (4, 16, 40), (300, 64, 7)])
def test_sinusoids_by_their_definition(length, d_model, start):
    table = week.sinusoidal(length, d_model, start)
    right = torch.tensor([
        [
            (math.cos if column % 2 else math.sin)(place / 10000 ** ((column - column % 2) / d_model))
            for column in range(d_model)
        ]
        for place in range(start, start + length)
    ])  # fmt: skip
    close(table, right, f"the table of {length} places from {start} on", 1e-4)


@pytest.mark.exercise(4)
def test_a_fixed_distance_is_a_rotation(rng):
    """What the paper hopes for in section 3.5: the row k places on is a linear function of this row."""
    table = week.sinusoidal(60, 16)
    turn = torch.linalg.lstsq(table[:40], table[5:45]).solution
    close(table[:40] @ turn, table[5:45], "the rows 5 places on, by one matrix from the rows,", 1e-3)


@pytest.mark.parametrize("shift", [1, 9, 100])
def test_rotary_scores_depend_on_the_distance_alone(shift, rng):
    q, k = random(rng, 1, 1, 6, 8), random(rng, 1, 1, 6, 8)
    here, there = (week.rotated(q, at) @ week.rotated(k, at).transpose(-2, -1) for at in (0, shift))
    close(there, here, "scores of the same tokens further on", 1e-4)
    assert (week.rotated(q, shift) - week.rotated(q, 0)).abs().max() > 0.1
    close(week.rotated(q, shift).norm(dim=-1), q.norm(dim=-1), "a turned vector's length")
    close(week.rotated(q)[0, 0, 0], q[0, 0, 0], "a vector at place 0")


def test_rotary_positions_by_their_matrix(rng):
    x = random(rng, 1, 1, 3, 4)
    for place in range(3):
        turn = torch.zeros(4, 4)
        for pair, rate in enumerate((1.0, 0.01)):
            c, s = math.cos(place * rate), math.sin(place * rate)
            turn[2 * pair : 2 * pair + 2, 2 * pair : 2 * pair + 2] = torch.tensor([[c, -s], [s, c]])  # equation 15
        close(week.rotated(x)[0, 0, place], turn @ x[0, 0, place], f"place {place}")


# ---------------------------------------------------------------- multi-head attention against torch's


def both_attentions(dropout=0.0, **options):
    """Ours and torch's, with the same weights, biases too."""
    torch.manual_seed(1)
    theirs = nn.MultiheadAttention(D_MODEL, HEADS, dropout, batch_first=True)
    ours = MultiHeadAttention(D_MODEL, HEADS, dropout, **options)
    for bias in (theirs.in_proj_bias, theirs.out_proj.bias):
        nn.init.normal_(bias)
    copy_attention(ours, theirs)
    return ours, theirs


def copy_attention(ours, theirs):
    ours.in_proj.load_state_dict({"weight": theirs.in_proj_weight, "bias": theirs.in_proj_bias})
    ours.out_proj.load_state_dict(theirs.out_proj.state_dict())


def masks_of(kind, keys, rng):
    """(our flags, their flags) of a mask without a row that is hidden as a whole."""
    key_mask, any_mask = None, None
    real = torch.ones(BATCH, keys, dtype=torch.bool)
    real[1, -2:] = False
    free = torch.rand(BATCH, HEADS, QUERIES, keys, generator=rng) > 0.4
    free[..., 0] = True
    causal = "causal" in kind
    if "padding" in kind:
        key_mask = real
    if "any" in kind:
        any_mask = free if "heads" in kind else free[0, 0]
    theirs = None if any_mask is None else ~any_mask.reshape(-1, QUERIES, keys) if any_mask.ndim == 4 else ~any_mask
    if causal:
        hidden = torch.ones(QUERIES, keys, dtype=torch.bool).triu(1)
        theirs = hidden if theirs is None else theirs | hidden
    mine = {"mask": any_mask, "key_mask": key_mask, "causal": causal}
    return mine, {"attn_mask": theirs, "key_padding_mask": None if key_mask is None else ~key_mask}


KINDS = [
    "none", "causal", "padding", "causal padding", "any", "any causal", "any padding", "any causal padding",
    "any heads", "any heads causal padding",
]  # fmt: skip
WAYS = list(itertools.product((False, True), (True, False), (True, False)))  # weights, training, grad


SELF_AND_CROSS = [
    (kind, cross) for kind in KINDS for cross in (False, True) if not (cross and "causal" in kind)
]  # of another sequence no future is hidden


@pytest.mark.parametrize(("kind", "cross"), SELF_AND_CROSS)
def test_multi_head_attention_equals_torch(kind, cross, rng):
    ours, theirs = both_attentions()
    x = random(rng, BATCH, QUERIES, D_MODEL)
    context = random(rng, BATCH, KEYS, D_MODEL) if cross else x
    mine, other = masks_of(kind, KEYS if cross else QUERIES, rng)
    for weights, training, grad in WAYS:
        ours.train(training), theirs.train(training)
        with torch.set_grad_enabled(grad):
            out = ours(x, context if cross else None, need_weights=weights, **mine)
            expected, their_weights = theirs(
                x, context, context, need_weights=weights, average_attn_weights=False, **other
            )
        if weights:
            close(out[1], their_weights, "weights", 1e-6)
            out = out[0]
        close(out, expected, f"out, weights {weights}, training {training}, grad {grad},", 1e-6)
        if grad:
            inputs = {"x": x} | ({"context": context} if cross else {})
            names = inputs | {f"parameter {n}": p for n, p in ours.named_parameters()}
            same_gradients((out, names), (expected, inputs | dict(theirs.named_parameters())), rng, 1e-6)


@pytest.mark.parametrize("weights", [True, False])
def test_the_same_dropout_as_torch(weights, rng):
    ours, theirs = both_attentions(dropout=0.3)
    x, found = random(rng, BATCH, QUERIES, D_MODEL), []
    for layer in (lambda: ours(x, need_weights=weights), lambda: theirs(x, x, x, need_weights=weights)):
        torch.manual_seed(5)
        out = layer()
        found.append(out[0] if isinstance(out, tuple) else out)
    close(*found, "out", 1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_fused_path_equals_the_explicit_one(kind, rng):
    fused, _ = both_attentions()
    explicit, _ = both_attentions(fused=False)
    x = random(rng, BATCH, QUERIES, D_MODEL)
    mine, _ = masks_of(kind, QUERIES, rng)
    out, expected = fused(x, **mine), explicit(x, **mine)
    close(out, expected, "out", 1e-6)
    same_gradients((out, {"x": x}), (expected, {"x": x}), rng, 1e-6)


@pytest.mark.parametrize("fused", [True, False])
def test_rows_that_are_hidden_as_a_whole_give_zeros(fused, rng):
    """Before W^O; and no NaN goes back. nn.MultiheadAttention gives NaN on one path and numbers on another."""
    ours, theirs = both_attentions(fused=fused)
    nn.init.zeros_(ours.out_proj.bias)
    x = random(rng, BATCH, QUERIES, D_MODEL)
    nothing = torch.tensor([[True] * QUERIES, [False] * QUERIES])
    out = ours(x, key_mask=nothing)
    close(out[1], torch.zeros(QUERIES, D_MODEL), "out of a sentence of padding", 0)
    assert torch.autograd.grad(out.square().sum(), x)[0].isfinite().all()
    assert theirs(x, x, x, key_padding_mask=~nothing)[0][1].isnan().all()


def test_permuted_tokens_give_permuted_outputs(rng):
    """Without positions nothing says what stood where."""
    ours, _ = both_attentions()
    x, order = random(rng, BATCH, QUERIES, D_MODEL), torch.randperm(QUERIES, generator=rng)
    close(ours(x[:, order]), ours(x)[:, order], "out of permuted tokens", 1e-6)
    rope = MultiHeadAttention(D_MODEL, HEADS, rope=True)
    assert (rope(x[:, order]) - rope(x)[:, order]).abs().max() > 1e-3


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("rope", [True, False])
def test_no_output_depends_on_the_future(fused, rope, rng):
    layer = MultiHeadAttention(D_MODEL, HEADS, rope=rope, fused=fused)
    x = random(rng, 1, QUERIES, D_MODEL)
    out = layer(x, causal=True)
    for place in range(QUERIES):
        (gradient,) = torch.autograd.grad(out[0, place].sum(), x, retain_graph=True)
        assert not gradient[0, place + 1 :].any() and gradient[0, : place + 1].any(1).all()


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (
            {"mask": torch.ones(3, 5, dtype=torch.bool)},
            "mask (3, 5): must broadcast to (batch 2, heads 3, queries 5, keys 5).",
        ),
        (
            {"mask": torch.ones(2, 5, 5, dtype=torch.bool)},
            "mask (2, 5, 5): must broadcast to (batch 2, heads 3, queries 5, keys 5).",
        ),
        ({"key_mask": torch.ones(2, 6, dtype=torch.bool)}, "key_mask (2, 6): must be (batch 2, keys 5)."),
        ({"mask": torch.zeros(5, 5)}, "mask is torch.float32: must be torch.bool, True where a query may look."),
    ],
)
def test_a_mask_of_the_wrong_shape_says_which_and_what_was_expected(flags, line):
    layer = MultiHeadAttention(D_MODEL, HEADS)
    assert refused(lambda: layer(torch.zeros(BATCH, QUERIES, D_MODEL), **flags)) == line


def test_heads_that_do_not_divide_are_refused():
    assert (
        refused(MultiHeadAttention, 12, 5) == "d_model 12 is not divisible by 5 heads: each head gets d_model / heads."
    )
    line = "rotary positions turn pairs of numbers: a head of 3 has an odd one."
    assert refused(MultiHeadAttention, 12, 4, 0.0, True) == line


# ---------------------------------------------------------------- norms


@pytest.mark.parametrize(("ours", "theirs"), [(LayerNorm, nn.LayerNorm), (RMSNorm, nn.RMSNorm)])
def test_norms_equal_torch(ours, theirs, rng):
    a, b = ours(D_MODEL), theirs(D_MODEL, eps=1e-5)
    for parameter in b.parameters():
        nn.init.normal_(parameter)
    a.load_state_dict(b.state_dict())
    x = (3 * torch.randn(BATCH, QUERIES, D_MODEL, generator=rng) + 5).requires_grad_()
    out, expected = a(x), b(x)
    close(out, expected, "out")
    mine, other = ({"x": x} | dict(norm.named_parameters()) for norm in (a, b))
    same_gradients((out, mine), (expected, other), rng)
    if ours is LayerNorm:
        out, expected = layer_norm(x, a.weight, a.bias, a.eps), b(x)
        close(out, expected, "out, written out,")
        same_gradients((out, mine), (expected, other), rng)


# ---------------------------------------------------------------- exercise 5: blocks, against torch's


def config(**changes):
    shape = {"d_model": D_MODEL, "heads": HEADS, "d_ff": 20, "dropout": 0.0, "source_words": 9, "target_words": 11}
    return TransformerConfig(**shape | changes)


def copy_block(ours, theirs):
    for mine, other in (("attention", "self_attn"), ("cross_attention", "multihead_attn")):
        if hasattr(ours, mine):
            copy_attention(getattr(ours, mine), getattr(theirs, other))
    for name in ("linear1", "linear2"):
        getattr(ours.feed_forward, name).load_state_dict(getattr(theirs, name).state_dict())
    for name in ("norm1", "norm2", "norm3"):
        if hasattr(ours, name):
            for parameter in getattr(theirs, name).parameters():
                nn.init.normal_(parameter, 1.0, 0.3)
            getattr(ours, name).load_state_dict(getattr(theirs, name).state_dict())


def encoder_blocks(norm):
    torch.manual_seed(2)
    theirs = nn.TransformerEncoderLayer(D_MODEL, HEADS, 20, 0.0, batch_first=True, norm_first=norm == "pre")
    ours = EncoderBlock(config(norm=norm))
    copy_block(ours, theirs)
    return ours, theirs


def check_encoder_block(norm, rng):
    ours, theirs = encoder_blocks(norm)
    x, real = random(rng, BATCH, QUERIES, D_MODEL), torch.ones(BATCH, QUERIES, dtype=torch.bool)
    real[1, -2:] = False
    out, expected = ours(x, real), theirs(x, src_key_padding_mask=~real)
    slip = "padding is seen, should be hidden: attention needs the key_mask"
    none_of(out, expected, {slip: ours(x)})
    close(out, expected, f"out of a {norm}-norm block")
    same_gradients((out, {"x": x}), (expected, {"x": x}), rng)


@pytest.mark.exercise(5)
def test_a_block_that_finds_nothing_leaves_x_as_it_is(rng):
    block, x = encoder_blocks("pre")[0], random(rng, BATCH, QUERIES, D_MODEL)
    for linear in (block.attention.out_proj, block.feed_forward.linear2):
        nn.init.zeros_(linear.weight), nn.init.zeros_(linear.bias)
    normed = {
        "the residual adds to the normed x, should add to x itself: x + f(norm(x))": block.norm2(block.norm1(x)),
    }
    none_of(block(x), x, normed)
    close(block(x), x, "out of a block whose attention and feed-forward give 0", 0)


@pytest.mark.exercise(5)
def test_a_pre_norm_block_equals_torch(rng):
    check_encoder_block("pre", rng)


@pytest.mark.exercise(5)
def test_a_pre_norm_block_passes_padding_on_and_drops_out(rng):
    block, x = encoder_blocks("pre")[0], random(rng, 1, 4, D_MODEL)
    real = torch.tensor([[True, True, True, False]])
    close(block(x, real)[:, :3], block(x[:, :3]), "out of the real tokens, with padding behind them,")
    block.dropout.p = 0.5
    torch.manual_seed(3)
    found = block(x)
    torch.manual_seed(3)
    h = x + block.dropout(block.attention(block.norm1(x)))
    close(found, h + block.dropout(block.feed_forward(block.norm2(h))), "out with dropout on both ways")


def test_a_post_norm_block_equals_torch(rng):
    check_encoder_block("post", rng)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_decoder_block_equals_torch(norm, rng):
    torch.manual_seed(2)
    theirs = nn.TransformerDecoderLayer(D_MODEL, HEADS, 20, 0.0, batch_first=True, norm_first=norm == "pre")
    ours = DecoderBlock(config(norm=norm))
    copy_block(ours, theirs)
    x, memory = random(rng, BATCH, QUERIES, D_MODEL), random(rng, BATCH, KEYS, D_MODEL)
    real = torch.ones(BATCH, KEYS, dtype=torch.bool)
    real[0, -3:] = False
    hidden = torch.ones(QUERIES, QUERIES, dtype=torch.bool).triu(1)
    out = ours(x, memory, real)
    expected = theirs(x, memory, tgt_mask=hidden, memory_key_padding_mask=~real)
    close(out, expected, "out")
    named = {"x": x, "memory": memory}
    same_gradients((out, named), (expected, named), rng)


# ---------------------------------------------------------------- the whole


def tokens(rng, words, *shape):
    return torch.randint(1, words, shape, generator=rng)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_the_transformer_equals_torch(norm, rng):
    torch.manual_seed(4)
    ours = Transformer(config(norm=norm))
    layers = [
        kind(D_MODEL, HEADS, 20, 0.0, batch_first=True, norm_first=norm == "pre")
        for kind in (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)
    ]
    last = [nn.LayerNorm(D_MODEL) if norm == "pre" else None for _ in range(2)]  # post-norm needs none: the paper's way
    theirs = nn.Transformer(
        D_MODEL, HEADS, batch_first=True,
        custom_encoder=nn.TransformerEncoder(layers[0], 2, last[0], enable_nested_tensor=False),
        custom_decoder=nn.TransformerDecoder(layers[1], 2, last[1]),
    )  # fmt: skip
    for mine, other in ((ours.encoder, theirs.encoder), (ours.decoder, theirs.decoder)):
        for a, b in zip(mine, other.layers, strict=True):
            copy_block(a, b)
    source, target = tokens(rng, 9, BATCH, KEYS), tokens(rng, 11, BATCH, QUERIES)
    source[0, -2:] = PAD
    logits = ours(source, target)
    x, y = ours.embedded(ours.source_table, source), ours.embedded(ours.words, target)
    hidden = torch.ones(QUERIES, QUERIES, dtype=torch.bool).triu(1)
    y = theirs(x, y, tgt_mask=hidden, src_key_padding_mask=source == PAD, memory_key_padding_mask=source == PAD)
    expected = y @ ours.words.weight.T
    assert logits.shape == (BATCH, QUERIES, 11)
    close(logits, expected, "logits")
    tables = {"source table": ours.source_table.weight, "target table": ours.words.weight}
    same_gradients((logits, tables), (expected, tables), rng)


POSITIONS = ["sinusoidal", "learned", "rope", "none"]


def transformer(positions="sinusoidal", **changes):
    torch.manual_seed(5)
    return Transformer(config(positions=positions, d_model=24, **changes)).eval()


@pytest.mark.exercise(6)
def test_a_cache_of_two_tokens_to_follow_by_hand():
    cache, one, two = Cache(), torch.tensor([[[[1.0, 2.0]]]]), torch.tensor([[[[3.0, 4.0]]]])
    cache.append(one, -one)
    kept = cache.append(two, -two)
    assert isinstance(kept, tuple) and len(kept) == 2, f"append returns {kept!r:.30}, should be (keys, values)"
    both = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    none_of(kept[0], both, {"new keys stand in front of old ones, should stand behind them": both.flip(2)})
    close(kept[0], both, "keys after 2 appends", 0)
    close(kept[1], -both, "values after 2 appends", 0)


@pytest.mark.exercise(6)
def test_a_cache_keeps_what_is_appended(rng):
    cache, parts = Cache(), [random(rng, 2, 3, time, 4) for time in (2, 1, 3)]
    for count, part in enumerate(parts, 1):
        kept = cache.append(part, -part)
        assert isinstance(kept, tuple) and len(kept) == 2, f"append returns {kept!r:.30}, should be (keys, values)"
        right = torch.cat(parts[:count], dim=2)
        assert len(cache) == right.shape[2], (
            f"after {count} appends {len(cache)} keys are kept, should be {right.shape[2]}: new ones behind old ones"
        )
        close(kept[0], right, f"keys after {count} appends", 0)
        close(kept[1], -right, f"values after {count} appends", 0)


@pytest.mark.exercise(6)
@pytest.mark.parametrize("positions", ["none", "sinusoidal", "learned", "rope"])
def test_cached_decoding_equals_full_decoding(positions, rng):
    model = transformer(positions)
    source, target = tokens(rng, 9, BATCH, KEYS), tokens(rng, 11, BATCH, 6)
    source[1, -3:] = PAD
    with torch.no_grad():
        full, state, still = model(source, target), model.encode(source), model.encode(source)
        for place in range(6):
            logits = model.step(target[:, place : place + 1], state)
            x = model.embedded(model.words, target[:, place : place + 1])  # as if each stood at place 0
            for block, caches in zip(model.decoder, still.caches, strict=True):
                x = block(x, still.memory, still.key_mask, caches)
            first = F.linear(model.decoder_norm(x[:, -1]), model.words.weight)
            slip = "each new token stands at place 0, should stand behind those in the cache"
            none_of(logits, full[:, place], {slip: first})
            close(logits, full[:, place], f"logits of step {place}, with positions {positions},", 1e-4)


@pytest.mark.exercise(6)
def test_several_new_tokens_at_once(rng):
    model = transformer()
    source, target = tokens(rng, 9, BATCH, KEYS), tokens(rng, 11, BATCH, 6)
    with torch.no_grad():
        full, state = model(source, target), model.encode(source)
        close(model.step(target[:, :2], state), full[:, 1], "logits after 2 tokens", 1e-4)
        close(model.step(target[:, 2:5], state), full[:, 4], "logits after 3 more", 1e-4)


def test_a_state_goes_on_with_chosen_rows(rng):
    model = transformer()
    source, target = tokens(rng, 9, 3, KEYS), tokens(rng, 11, 3, 3)
    rows = torch.tensor([2, 0, 0])
    with torch.no_grad():
        state = model.encode(source)
        model.step(target[:, :2], state)
        state.take(rows)
        found = model.step(target[rows][:, 2:], state)
        close(found, model(source, target)[rows][:, 2], "logits of the chosen rows", 1e-4)


@pytest.mark.parametrize("positions", POSITIONS)
@pytest.mark.parametrize("norm", ["pre", "post"])
def test_padding_changes_nothing(positions, norm, rng):
    model = transformer(positions, norm=norm)
    source, target = tokens(rng, 9, 1, KEYS), tokens(rng, 11, 1, QUERIES)
    alone = model(source, target)
    more = F.pad(source, (0, 4), value=PAD)
    close(model(more, F.pad(target, (0, 2), value=PAD))[:, :QUERIES], alone, "logits with padding behind both sides")
    both = torch.cat([more, tokens(rng, 9, 1, KEYS + 4)])
    close(model(both, target.expand(2, -1))[:1], alone, "logits beside a longer sentence")


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_decoder_does_not_see_what_it_is_to_say(positions, rng):
    model = transformer(positions)
    source, target = tokens(rng, 9, 1, KEYS), tokens(rng, 11, 1, QUERIES)
    seen = model.embedded(model.words, target).detach().requires_grad_()
    model.embedded = lambda table, ids, start=0: seen if ids is target else Transformer.embedded(model, table, ids)
    logits = model(source, target)
    for place in range(QUERIES):
        (gradient,) = torch.autograd.grad(logits[0, place].square().sum(), seen, retain_graph=True)
        assert not gradient[0, place + 1 :].any() and gradient[0, place].any()
    model.causal = False
    (gradient,) = torch.autograd.grad(model(source, target)[0, 0].square().sum(), seen)
    assert gradient[0, 1:].any(), "without the mask the first step sees the last token"


def test_without_positions_the_encoder_sees_a_bag(rng):
    source, order = tokens(rng, 9, 1, KEYS), torch.randperm(KEYS, generator=rng)
    bag = transformer("none")
    close(bag.encode(source[:, order]).memory, bag.encode(source).memory[:, order], "memory of permuted tokens")
    for positions in POSITIONS[:3]:
        model = transformer(positions)
        assert (model.encode(source[:, order]).memory - model.encode(source).memory[:, order]).abs().max() > 1e-3


def test_tables_are_tied():
    two, one = transformer(), transformer(source_words=0)
    assert two.words is two.target_table and one.words is one.source_table
    assert count_parameters(two) - count_parameters(one) == 9 * 24  # one table is left, of the target's words


def test_a_length_beyond_the_learned_positions_is_refused(rng):
    model = transformer("learned", max_len=6)
    line = (
        "length 7: the learned positions end at 6. Train with a larger --max-len, or with --positions sinusoidal or "
        "rope."
    )
    assert refused(model.encode, tokens(rng, 9, 1, 7)) == line
    state = model.encode(tokens(rng, 9, 1, 6))
    model.step(tokens(rng, 11, 1, 6), state)
    assert refused(model.step, tokens(rng, 11, 1, 1), state) == line
    assert transformer("sinusoidal").encode(tokens(rng, 9, 1, 600)).memory.shape == (1, 600, 24)
