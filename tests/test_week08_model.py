"""Week 8's GPT: what must hold of attention, of the cache and of the whole.

Against transformers: test_week08_transformers.py.

The tests marked `exercise(K)` are what `./course check 8` holds a learner's piece K to.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from programs import close, refused

from week08_gpt import model as week
from week08_gpt.model import GPT, Cache, GPTConfig, count_parameters, flops_per_token

SHAPE = {"vocab_size": 13, "block_size": 12, "layers": 2, "heads": 4, "d_model": 16}
KINDS = {
    "gpt": GPTConfig(**SHAPE),
    "llama": GPTConfig(**SHAPE, kv_heads=2).llama(),
    "mixed": GPTConfig(**SHAPE, kv_heads=1, positions="learned", norm="rms", mlp="swiglu"),
}


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


def random(rng, *shape):
    return torch.randn(*shape, generator=rng).requires_grad_()


def gpt(kind="gpt", seed=1):
    """A GPT with weights large enough that everything matters, in evaluation mode."""
    torch.manual_seed(seed)
    model = GPT(KINDS[kind]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


def tokens(rng, batch, time):
    return torch.randint(0, 13, (batch, time), generator=rng)


def triangle(queries, keys):
    return torch.ones(queries, keys, dtype=torch.bool).tril(keys - queries)


def none_of(found, expected, slips):
    """Fails with the name of the first of these slips that explains what was found, where it is not as expected."""
    if isinstance(found, torch.Tensor) and found.shape == expected.shape:
        if torch.allclose(found, expected, atol=1e-5):
            return
        for slip, wrong in slips.items():
            assert not torch.allclose(found, wrong, atol=1e-4), slip


# ---------------------------------------------------------------- exercise 1: causal self-attention


@pytest.mark.exercise(1)
@pytest.mark.parametrize(("queries", "keys"), [(3, 3), (1, 4), (2, 5)])
def test_each_token_sees_itself_and_what_comes_before(queries, keys):
    mask = week.causal_mask(queries, keys)
    assert isinstance(mask, torch.Tensor) and mask.shape == (queries, keys), "must be a tensor (queries, keys)"
    assert mask.dtype == torch.bool, f"the mask is {mask.dtype}, should be torch.bool"
    for query in range(queries):
        seen, right = mask[query].nonzero().flatten().tolist(), list(range(keys - queries + query + 1))
        assert seen == right, f"query {query} of {queries} sees the keys {seen} of {keys}, should see {right}"


def by_hand():
    """One query (2, 0), keys (2, 0), (0, 2) and (4, 0), of which the third is hidden: scores 4 / sqrt(2) and 0."""
    q = torch.tensor([[[[2.0, 0.0]]]])
    k = torch.tensor([[[[2.0, 0.0], [0.0, 2.0], [4.0, 0.0]]]])
    v = torch.tensor([[[[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]]]])
    return q, k, v, torch.tensor([[[[True, True, False]]]])


@pytest.mark.exercise(1)
def test_attention_by_hand():
    q, k, v, mask = by_hand()
    answer = week.attention(q, k, v, mask)
    assert isinstance(answer, tuple) and len(answer) == 2, (
        f"attention returns {answer!r:.30}, should be (found, weights)"
    )
    found, weights = answer
    scores = torch.tensor([4.0, 0.0, 8.0]) / math.sqrt(2)
    right = torch.cat([scores[:2].softmax(0), torch.zeros(1)])
    slips = {
        "the scores are not divided by sqrt(head_dim)": torch.cat([(scores[:2] * math.sqrt(2)).softmax(0), right[2:]]),
        "the scores are divided by head_dim, should be by its root": torch.cat(
            [(scores[:2] / math.sqrt(2)).softmax(0), right[2:]]
        ),
        "the hidden key takes part in the softmax: its score must go before": scores.softmax(0) * mask[0, 0, 0],
        "the mask is not used": scores.softmax(0),
        "the mask is used the other way round": torch.tensor([0.0, 0.0, 1.0]),
    }
    none_of(weights.flatten(), right, slips)
    close(weights.flatten(), right, "the weights")
    close(found.flatten(), right[:2], "what is found: the values under these weights")


@pytest.mark.exercise(1)
def test_heads_in_a_row_share_keys_and_values(rng):
    """Four heads of queries, two of keys: heads 0 and 1 ask head 0, heads 2 and 3 ask head 1."""
    q, k, v = random(rng, 1, 4, 3, 2), random(rng, 1, 2, 3, 2), random(rng, 1, 2, 3, 2)
    mask = triangle(3, 3)[None, None]
    found = week.attention(q, k, v, mask)[0]

    def alone(order):
        heads = [(q[:, [i]], k[:, [j]], v[:, [j]]) for i, j in enumerate(order)]
        return torch.cat([F.scaled_dot_product_attention(*one, mask) for one in heads], dim=1)

    slip = "heads 0, 1, 2, 3 of queries ask heads 0, 1, 0, 1 of keys, should ask 0, 0, 1, 1"
    none_of(found, alone([0, 0, 1, 1]), {slip: alone([0, 1, 0, 1])})
    close(found, alone([0, 0, 1, 1]), "what four heads find with two heads of keys")


@pytest.mark.exercise(1)
@pytest.mark.parametrize(("kv_heads", "queries"), [(4, 5), (2, 5), (1, 2)])
def test_attention_equals_torch_forward_and_backward(kv_heads, queries, rng):
    q = random(rng, 2, 4, queries, 6)
    k, v = random(rng, 2, kv_heads, 5, 6), random(rng, 2, kv_heads, 5, 6)
    mask = triangle(queries, 5)[None, None]
    found, weights = week.attention(q, k, v, mask)
    expected = F.scaled_dot_product_attention(q, k, v, mask, enable_gqa=True)
    close(found, expected, "what is found")
    close(weights.sum(-1), torch.ones(2, 4, queries), "the sum of each row of weights")
    assert not weights.masked_select(~mask).any(), "a hidden key has a weight"
    upstream = torch.randn(expected.shape, generator=rng)
    ours, theirs = (torch.autograd.grad(out, (q, k, v), upstream, retain_graph=True) for out in (found, expected))
    for name, a, b in zip(("queries", "keys", "values"), ours, theirs, strict=True):
        close(a, b, f"the gradient of the {name}")


@pytest.mark.exercise(1)
def test_weights_drop_out(rng):
    q, k, v = (random(rng, 1, 1, 200, 4) for _ in range(3))
    torch.manual_seed(0)
    share = (week.attention(q, k, v, triangle(200, 200)[None, None], 0.5)[1].tril() == 0).tril().sum() / 20_100
    assert 0.45 < share < 0.55, f"with dropout 0.5, {share:.0%} of the weights are 0, should be half of them"


# ---------------------------------------------------------------- exercise 2: the cache


@pytest.mark.exercise(2)
def test_a_cache_keeps_what_is_appended(rng):
    cache, parts = gpt().cache(2), [random(rng, 2, 4, time, 4).detach() for time in (2, 1, 3)]
    for count, part in enumerate(parts, 1):
        kept = cache.append(1, part, -part)
        assert isinstance(kept, tuple) and len(kept) == 2, f"append returns {kept!r:.30}, should be (keys, values)"
        right = torch.cat(parts[:count], dim=2)
        shapes = f"append returns {kept[0].shape[2]} keys after {count} appends, should be {right.shape[2]}"
        assert kept[0].shape[2] != right.shape[2] - part.shape[2], f"{shapes}: the newest tokens are missing"
        assert kept[0].shape == right.shape, f"{shapes}: new ones behind old ones"
        close(kept[0], right, f"keys after {count} appends", 0)
        close(kept[1], -right, f"values after {count} appends", 0)
        cache.length += part.shape[2]
    assert not cache.keys[0].any(), "append(1, …) has changed layer 0"


@pytest.mark.exercise(2)
def test_tokens_stand_where_the_cache_ends(rng):
    model, ids, looked = gpt(), tokens(rng, 1, 6), []
    model.places.register_forward_pre_hook(lambda _, inputs: looked.append(inputs[0].flatten().tolist()))
    cache = model.cache()
    with torch.no_grad():
        for start, end in ((0, 3), (3, 5), (5, 6)):
            model(ids[:, start:end], cache)
            right = list(range(start, end))
            assert looked[-1] == right, (
                f"tokens {right} stand at the places {looked[-1]}: places go on behind the cache"
            )
            assert len(cache) == end


@pytest.mark.exercise(2)
@pytest.mark.parametrize("fused", [True, False])
def test_the_prompt_in_a_cache_does_not_see_its_future(fused, rng):
    model, ids = gpt(), tokens(rng, 1, 5)
    changed = ids.clone()
    changed[0, -1] = (ids[0, -1] + 1) % 13
    with torch.no_grad():
        first, second = (model(x, model.cache(), fused=fused)[:, :-1] for x in (ids, changed))
        seen = (first - second).abs().amax(dim=(0, 2)) > 1e-6
        assert not seen.any(), "with a cache, the prompt's first tokens see its last one: the causal mask is missing"
        close(first, model(ids)[:, :-1], "logits of a prompt that is read into a cache")


@pytest.mark.exercise(2)
def test_several_tokens_behind_others_see_all_before_them_and_none_behind(rng):
    model, ids = gpt(), tokens(rng, 1, 9)

    def logits(changed):  # of token 4, which is read with those behind it, after 0 to 3
        text, cache = ids.clone(), model.cache()
        text[0, changed] = (text[0, changed] + 1) % 13
        with torch.no_grad():
            model(text[:, :4], cache)
            return model(text[:, 4:], cache)[0, 0]

    plain = logits([])
    blind, behind = (torch.equal(logits([place]), plain) for place in (3, 8))
    what = "of tokens 4 to 8, read behind 0 to 3, the first"
    assert not blind, f"{what} does not see token 3: the mask's triangle must end at the lower right, not upper left"
    assert behind, f"{what} sees token 8: several tokens behind others need a mask, too"


@pytest.mark.exercise(2)
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("chunks", [[1] * 9, [9], [4, 5], [4, 1, 3, 1], [1, 8]])
def test_chunks_of_any_size_equal_the_full_pass(kind, chunks, rng):
    model, ids = gpt(kind), tokens(rng, 2, 9)
    with torch.no_grad():
        full, cache, start = model(ids), model.cache(2), 0
        for size in chunks:
            part = model(ids[:, start : start + size], cache)
            close(
                part,
                full[:, start : start + size],
                f"logits of tokens {start} to {start + size - 1}, of {chunks}",
                1e-4,
            )
            start += size


# ---------------------------------------------------------------- the whole


@pytest.mark.parametrize("kind", list(KINDS))
def test_no_logit_depends_on_the_future(kind, rng):
    model, ids = gpt(kind), tokens(rng, 1, 6)
    embedded = model.tokens(ids).detach().requires_grad_()
    model.tokens.register_forward_hook(lambda *_: embedded)
    for fused in (True, False):
        logits = model(ids, fused=fused)
        for place in range(6):
            (gradient,) = torch.autograd.grad(logits[0, place].square().sum(), embedded, retain_graph=True)
            assert not gradient[0, place + 1 :].any() and gradient[0, : place + 1].any(1).all()


@pytest.mark.parametrize("kind", list(KINDS))
def test_explicit_attention_equals_fused_with_gradients(kind, rng):
    model, ids, upstream = gpt(kind), tokens(rng, 2, 7), torch.randn(2, 7, 13, generator=rng)
    weights = []
    outs = [model(ids), model(ids, fused=False), model(ids, weights=weights)]
    found = [torch.autograd.grad(out, list(model.parameters()), upstream) for out in outs]
    for out, gradients in zip(outs[1:], found[1:], strict=True):
        close(out, outs[0], "logits")
        for (name, _), a, b in zip(model.named_parameters(), gradients, found[0], strict=True):
            close(a, b, f"the gradient of {name}")
    assert [tuple(one.shape) for one in weights] == [(2, 4, 7, 7)] * 2
    close(weights[0].sum(-1), torch.ones(2, 4, 7), "rows of weights")


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("fused", [True, False])
def test_padding_on_the_left_changes_nothing(kind, fused, rng):
    model, padding = gpt(kind), torch.tensor([0, 3, 8])
    ids, more = tokens(rng, 3, 9), tokens(rng, 3, 2)
    with torch.no_grad():
        cache = model.cache(3, padding)
        prompt, next_two = model(ids, cache, fused=fused), model(more, cache, fused=fused)
        for row, pad in enumerate(padding):
            alone = model(torch.cat([ids[row, pad:], more[row]])[None])[0]
            close(prompt[row, pad:], alone[:-2], f"logits of row {row}, with {pad} tokens of padding before it")
            close(next_two[row], alone[-2:], f"logits behind row {row}")
    assert prompt.isfinite().all(), "padding itself gives numbers, too"


def test_the_last_place_alone(rng):
    model, ids = gpt(), tokens(rng, 2, 5)
    close(model(ids, last=True), model(ids)[:, -1:], "logits of the last place")


@pytest.mark.parametrize("kind", list(KINDS))
def test_laid_for_writing_nothing_changes(kind, rng):
    model, ids = gpt(kind).train(), tokens(rng, 2, 5)
    before, names = model(ids), {name: x.clone() for name, x in model.state_dict().items()}
    assert model.for_writing() is model and not model.training
    assert model.blocks[0].mlp.up.weight.stride() == (1, model.blocks[0].mlp.up.weight.shape[0])
    close(model(ids), before, "logits")
    assert all(torch.equal(x, names[name]) for name, x in model.state_dict().items())


def test_initialised_as_published():
    torch.manual_seed(0)
    model = GPT(GPTConfig(vocab_size=500, block_size=64, layers=8, heads=4, d_model=128))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 2:
            std = 0.02 / 4 if name.endswith(("out_proj.weight", "down.weight")) else 0.02  # sqrt(2 * 8 layers) = 4
            assert parameter.std().item() == pytest.approx(std, rel=0.05), name
        else:
            assert (parameter == (0 if name.endswith("bias") else 1)).all(), name
    ids = torch.randint(0, 500, (4, 64))
    loss = F.cross_entropy(model(ids).flatten(0, 1), torch.randint(0, 500, (256,)))
    assert loss.item() == pytest.approx(math.log(500), abs=0.1), "at first all tokens are about equally likely"


@pytest.mark.parametrize(("size", "published"), [("small", 124_439_808), ("medium", 354_823_168)])
def test_gpt2_has_its_published_size(size, published):
    """One block, with one token and one place, is enough to tell."""
    config = GPTConfig.gpt2(size)
    block = count_parameters(GPT(GPTConfig.gpt2(size, layers=1, vocab_size=1, block_size=1))) - 4 * config.d_model
    tables = (config.vocab_size + config.block_size) * config.d_model
    assert config.layers * block + tables + 2 * config.d_model == published


def test_configs_fill_in_what_was_left_open():
    assert GPTConfig.gpt2("xl").heads == 25 and GPTConfig.gpt2("medium").d_ff == 4096
    assert count_parameters(gpt("llama")) < count_parameters(gpt()) + 13 * 16  # a second table, and fewer keys


def test_flops_of_a_token():
    """PaLM, appendix B, on GPT-2: 6 times the weights of its products, and 12 layers * d_model * time for attention."""
    config = GPTConfig()
    products = 124_439_808 - 1024 * 768 - 2 * 768 - 12 * (4 * 768 + 3 * 768 + 768 + 4 * 768 + 768)
    assert flops_per_token(config, 1024) == 6 * products + 12 * 12 * 768 * 1024
    small = GPTConfig(**SHAPE, kv_heads=2).llama(tied=True)
    weights = count_parameters(GPT(small)) - 5 * 16  # without the five norms
    assert flops_per_token(small, 8) == 6 * weights + 12 * 2 * 16 * 8
    assert (
        flops_per_token(KINDS["llama"], 8) == 6 * (count_parameters(gpt("llama")) - 5 * 16 - 13 * 16) + 12 * 2 * 16 * 8
    )


def test_one_batch_is_learned_by_heart(rng):
    torch.manual_seed(0)
    model, ids = GPT(KINDS["llama"]), tokens(rng, 4, 12)
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    for _ in range(60):
        loss = F.cross_entropy(model(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.7, f"after 60 steps on one batch the loss is {loss:.2f}"


def test_dropout_is_for_training_alone(rng):
    torch.manual_seed(0)
    model, ids = GPT(GPTConfig(**SHAPE, dropout=0.5)), tokens(rng, 1, 6)
    assert not torch.equal(model(ids), model(ids))
    assert torch.equal(model.eval()(ids), model(ids))


def test_more_tokens_than_the_block_has_are_refused(rng):
    model = gpt()
    line = "13 tokens: the model reads at most 12 (its block size)."
    assert refused(model, tokens(rng, 1, 13)) == line
    cache = model.cache()
    model(tokens(rng, 1, 12), cache)
    assert refused(model, tokens(rng, 1, 1), cache) == line


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"heads": 3}, "d_model 16 is not divisible by 3 heads."),
        ({"kv_heads": 3}, "4 heads are not divisible by 3 heads of keys and values."),
        ({"heads": 16, "positions": "rope"}, "rotary positions turn pairs of numbers: a head of 1 has an odd one."),
    ],
)
def test_shapes_that_do_not_fit_are_refused(changes, line):
    assert refused(lambda: GPTConfig(**SHAPE | changes)) == line


def test_a_cache_has_room_for_what_it_is_told():
    cache = gpt("llama").cache(3, room=5)
    assert isinstance(cache, Cache) and len(cache) == 0
    assert [tuple(x.shape) for x in cache.keys + cache.values] == [(3, 2, 5, 4)] * 4
