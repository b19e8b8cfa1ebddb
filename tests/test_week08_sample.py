"""Week 8's writing: filters by hand and by their definition, batches that give what each row gives alone, stopping."""

import pytest
import torch
from programs import close, config, refused, refused_flags

from week08_gpt import sample as week
from week08_gpt.model import GPT, GPTConfig
from week08_gpt.sample import EndOfFunction, Sampling, complete, filtered, generate
from week08_gpt.tokenizer import Characters

SHAPE = {"vocab_size": 30, "block_size": 16, "layers": 2, "heads": 4, "d_model": 16}
GREEDY, HOT = Sampling(temperature=0), Sampling(1.2, 20, 0.9, 0.01, 1.1)


def logits_of(*probs):
    return torch.tensor([probs]).log()


def kept(logits):
    """The numbers of the tokens that may come, row by row."""
    assert isinstance(logits, torch.Tensor), f"the filter returns {logits!r:.20}, should be logits"
    return [(row > float("-inf")).nonzero().flatten().tolist() for row in logits]


def gpt(**changes):
    """One that is sure of nothing, so that slips show; in evaluation mode."""
    torch.manual_seed(2)
    model = GPT(GPTConfig(**SHAPE | changes).llama()).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model


# ---------------------------------------------------------------- exercise 3: top-k and top-p

BY_HAND = (0.05, 0.5, 0.15, 0.3)


@pytest.mark.exercise(3)
def test_top_k_by_hand():
    logits = logits_of(*BY_HAND)
    for k, right in ((1, [1]), (2, [1, 3]), (3, [1, 2, 3]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])):
        (found,) = kept(week.keep_top_k(logits, k))
        assert found == right, (
            f"of the probabilities {BY_HAND}, top-k {k} keeps the tokens {found}, should keep {right}"
        )
    close(week.keep_top_k(logits, 2)[0, [1, 3]], logits[0, [1, 3]], "the logits that are kept", 0)


@pytest.mark.exercise(3)
def test_what_equals_the_k_th_is_kept_too():
    (found,) = kept(week.keep_top_k(torch.tensor([[1.0, 3.0, 2.0, 2.0, 2.0]]), 2))
    assert found == [1, 2, 3, 4], (
        f"of the logits 1 3 2 2 2, top-k 2 keeps {found}, should keep 1, 2, 3, 4: three are equal"
    )


@pytest.mark.exercise(3)
def test_top_p_by_hand():
    logits = logits_of(*BY_HAND)
    for p, right, fewer in (
        (0.4, [1], []),
        (0.6, [1, 3], [1]),
        (0.9, [1, 2, 3], [1, 3]),
        (1.0, [0, 1, 2, 3], [0, 1, 2, 3]),
    ):
        (found,) = kept(week.keep_top_p(logits, p))
        what = f"of the probabilities {BY_HAND}, top-p {p} keeps the tokens {found}, should keep {right}"
        assert found == right or found != fewer, f"{what}: the token with which the sum reaches p is missing"
        assert found == right or found != list(range(len(right))), f"{what}: those are places in the sorted order"
        assert found == right, what
    close(week.keep_top_p(logits, 0.6)[0, [1, 3]], logits[0, [1, 3]], "the logits that are kept", 0)


@pytest.mark.exercise(3)
@pytest.mark.parametrize("p", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_top_p_keeps_the_smallest_set_that_reaches_p(p):
    logits = 2 * torch.randn(60, 30, generator=torch.Generator().manual_seed(4))
    probs = logits.double().softmax(-1)
    for row, tokens in enumerate(kept(week.keep_top_p(logits, p))):
        mine, others = probs[row, tokens], probs[row, [token for token in range(30) if token not in tokens]]
        assert len(tokens), f"top-p {p} keeps no token at all"
        assert mine.sum() >= p - 1e-6, f"top-p {p} keeps tokens of {mine.sum():.4f} together: too few"
        assert mine.sum() - mine.min() < p + 1e-6, f"top-p {p} keeps a token more than it needs"
        assert not len(others) or mine.min() >= others.max() - 1e-12, f"top-p {p} leaves out a likelier token"


# ---------------------------------------------------------------- the others, and their order


def test_temperature_by_hand():
    """Probabilities to the power 1 / temperature, divided by their sum."""
    for temperature, right in ((0.5, (0.64, 0.36)), (1.0, (4 / 7, 3 / 7)), (2.0, (0.5359, 0.4641))):
        probs = filtered(logits_of(4 / 7, 3 / 7), Sampling(temperature)).softmax(-1)[0]
        close(probs, torch.tensor(right), f"the distribution at temperature {temperature}", 1e-4)


def test_temperature_zero_is_greedy():
    logits = torch.randn(50, 30, generator=torch.Generator().manual_seed(1))
    found = filtered(logits, Sampling(0, top_k=3, top_p=0.5))
    assert kept(found) == [[best] for best in logits.argmax(-1).tolist()]
    assert kept(filtered(torch.tensor([[1.0, 2.0, 2.0]]), GREEDY)) == [[1]], "of equals the first"
    cold = filtered(logits, Sampling(0.01)).softmax(-1)
    assert (cold.argmax(-1) == logits.argmax(-1)).all()
    probs = logits.softmax(-1).topk(2).values
    clear = probs[:, 0] > 1.3 * probs[:, 1]  # to the power 100 nothing is left of the second
    assert clear.any() and (cold.amax(-1)[clear] > 0.999).all()


def test_the_order_of_the_filters():
    """Temperature before top-p: a flat distribution needs more tokens. Top-k before top-p: p is of what top-k left."""
    logits = logits_of(0.6, 0.2, 0.1, 0.1)
    assert kept(filtered(logits, Sampling(1.0, top_p=0.6))) == [[0]]
    assert (
        kept(filtered(logits, Sampling(5.0, top_p=0.6))) == [[0, 1, 2]]
        or len(kept(filtered(logits, Sampling(5.0, top_p=0.6)))[0]) > 1
    )
    assert kept(filtered(logits_of(0.4, 0.3, 0.2, 0.1), Sampling(top_k=2, top_p=0.55))) == [[0]]
    assert kept(filtered(logits_of(0.4, 0.3, 0.2, 0.1), Sampling(top_p=0.55))) == [[0, 1]]


def test_min_p_and_the_penalty():
    assert kept(filtered(logits_of(0.5, 0.3, 0.15, 0.05), Sampling(min_p=0.2))) == [[0, 1, 2]]
    seen = torch.tensor([[True, True, False]])
    found = filtered(torch.tensor([[2.0, -1.0, 1.0]]), Sampling(repetition_penalty=2.0), seen)
    close(found, torch.tensor([[1.0, -2.0, 1.0]]), "the logits with a penalty of 2 on the first two")


def test_tokens_are_drawn_as_often_as_they_are_likely():
    probs, draws = torch.tensor([[0.1, 0.0, 0.6, 0.3]]), 20_000
    uniform = torch.rand(draws, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    counts = torch.bincount(week.drawn(probs.expand(draws, -1), uniform), minlength=4) / draws
    close(counts, probs[0], "the shares of 20,000 draws", 0.015)
    assert counts[1] == 0
    ends = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    assert week.drawn(torch.tensor([[0.0, 1.0, 0.0]]).expand(2, -1), ends).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"top_p": 0.0}, "top-p 0: must be above 0 and at most 1."),
        ({"top_p": 1.5}, "top-p 1.5: must be above 0 and at most 1."),
        ({"top_p": float("nan")}, "top-p nan: must be above 0 and at most 1."),
        ({"min_p": 1.0}, "min-p 1: must be at least 0 and below 1."),
        ({"temperature": -1.0}, "temperature -1: must be 0 or more."),
        ({"top_k": -1}, "top-k -1: must be 0 (all) or more."),
        ({"repetition_penalty": 0.0}, "repetition penalty 0: must be above 0; 1 is none."),
    ],
)
def test_settings_out_of_bounds_are_refused(flags, line):
    assert refused(lambda: Sampling(**flags)) == line


def test_flags_out_of_bounds_are_refused():
    assert config(week, "def f(x):", "--top-p", "1").top_p == 1
    assert refused_flags(week, "def f(x):", "--top-p", "1.5").startswith("--top-p 1.5: must be")
    assert refused_flags(week, "def f(x):", "--top-p", "0").startswith("--top-p 0")
    line = 'write a beginning behind it, as `./course run 8 sample "def area(radius):"`.'
    assert refused(week.main, config(week)) == line


# ---------------------------------------------------------------- writing

PROMPTS = [[1, 2, 3], [4], [7] * 16, [1, 2] * 5]


@pytest.mark.parametrize("sampling", [GREEDY, HOT], ids=["greedy", "hot"])
@pytest.mark.parametrize("most", [6, 40])
def test_a_batch_gives_what_its_rows_give_alone(sampling, most):
    """Prompts of 1 to 16 tokens, a block of 16: with 40 tokens every row passes the block's end, at its own time."""
    model = gpt()
    together = generate(model, PROMPTS, sampling, most, seeds=[5, 6, 7, 8])
    for row, prompt in enumerate(PROMPTS):
        assert together[row] == generate(model, [prompt], sampling, most, seeds=[5 + row])[0]
        assert len(together[row]) == most
    assert generate(model, PROMPTS, sampling, most, seeds=[5, 6, 7, 8]) == together, "the same seeds, the same tokens"


def test_the_cache_changes_nothing_up_to_the_end_of_the_block():
    model = gpt()
    (written,) = generate(model, [[1, 2, 3]], GREEDY, 13)
    ids = [1, 2, 3]
    for _ in range(13):
        ids.append(model(torch.tensor([ids]), last=True)[0, -1].argmax().item())
    assert written == ids[3:]


def test_behind_the_end_of_the_block_the_last_half_is_read_anew():
    model = gpt()
    (written,) = generate(model, [list(range(16))], GREEDY, 2)
    context = [*range(16), written[0]][-8:]
    assert written[1] == model(torch.tensor([context]), last=True)[0, -1].argmax().item()


def test_others_go_on_when_the_longest_row_has_ended_at_the_end_of_the_block():
    model, prompts = gpt(), [list(range(14)), [1], [2, 3], [4]]
    together = generate(model, prompts, GREEDY, 12, ended=lambda row, *_: row == 0)
    assert len(together[0]) == 1
    for row in (1, 2, 3):
        assert together[row] == generate(model, [prompts[row]], GREEDY, 12)[0]


def test_rows_end_by_themselves_and_others_go_on():
    model, seen = gpt(), []

    def ended(row, token, prob):
        seen.append((row, token, prob))
        return len([one for one in seen if one[0] == row]) == 3 + 4 * row

    written = generate(model, PROMPTS[:3], HOT, 30, seeds=[5, 6, 7], ended=ended)
    assert [len(one) for one in written] == [3, 7, 11]
    assert written[1] == generate(model, [PROMPTS[1]], HOT, 7, seeds=[6])[0]
    assert all(0 < prob <= 1 for *_, prob in seen)


def test_prompts_that_do_not_fit_the_block_are_refused():
    model = gpt()
    line = (
        "prompt 2 has {} tokens: the model reads from 1 to 16 (its block size). Cut it from the left, or train with a "
        "larger --block-size."
    )
    assert refused(generate, model, [[1], [1] * 17], GREEDY, 1) == line.format(17)
    assert refused(generate, model, [[1], []], GREEDY, 1) == line.format(0)


def test_the_penalty_knows_the_prompt():
    """With a huge penalty, and all logits above 0, nothing comes twice."""
    model = gpt()
    for block in model.blocks:
        torch.nn.init.zeros_(block.attention.out_proj.weight), torch.nn.init.zeros_(block.mlp.down.weight)
    model.head.weight.data = model.head.weight.data.abs()
    model.tokens.weight.data = model.tokens.weight.data.abs()
    (written,) = generate(model, [[1, 2, 3]], Sampling(0, repetition_penalty=1e6), 12)
    assert len({1, 2, 3, *written}) == 15


# ---------------------------------------------------------------- stopping

HEAD = "class A:\n    def f(self):\n        return"


@pytest.mark.parametrize(
    ("prompt", "written", "kept"),
    [
        (HEAD, " 1\n\n    def g", " 1\n"),
        (HEAD, " 1\n", None),
        (HEAD, " 1\n        # more\n\n\n        x", None),
        (HEAD, " 1\n# a comment", " 1\n"),
        (HEAD, " (1,\n2)\n", None),
        (HEAD, ' """\ntext\n"""\n        x', None),
        (HEAD, ' """\ntext\n"""\n    x', ' """\ntext\n"""\n'),
        ("def f(a,\n", "b):\n    pass\nx", "b):\n    pass\n"),
        ("async def f():", "\n\tpass\n@g", "\n\tpass\n"),
        ("x = 1", "\ny = 2", None),
        ("    def f():\n        def g():", "\n            a\n        b", "\n            a\n"),
    ],
)
def test_the_end_of_a_function_is_the_next_line_no_deeper_than_its_def(prompt, written, kept):
    at = EndOfFunction(prompt)(written)
    assert (at if at is None else written[:at]) == kept


class Script:
    """A model that writes a given text, whatever it is asked: one character a token."""

    def __init__(self, text, tokenizer):
        self.ids = [*tokenizer.encode(text), tokenizer.end]
        self.config = GPTConfig(tokenizer.vocab_size, 500, 1, 1, d_model=2)
        self.tokens, self.step = torch.nn.Embedding(1, 1), -1

    def cache(self, batch, padding, room):
        return self

    def __len__(self):
        return self.step + 1

    def __call__(self, ids, cache, last):
        self.step += 1
        logits = torch.zeros(len(ids), 1, self.config.vocab_size)
        logits[:, :, self.ids[self.step]] = 9.0
        return logits


TOKENIZER = Characters.train(["abcdefghijklmnopqrstuvwxyz\n ():#_1234567890,.=+\"'é"])


@pytest.mark.parametrize(
    ("text", "options", "kept", "why"),
    [
        (" 1\n\nnext", {}, " 1\n", "function"),
        (" 1\n\nnext", {"function": False}, " 1\n\nnext", "end"),
        (" 1 # stop", {"stops": ["#", "op"]}, " 1 ", "stop"),
        (" 1\n\nnext", {"stops": ["\n\n"]}, " 1", "stop"),
        (" 12345", {"most": 3}, " 12", "length"),
        (" é", {}, " é", "end"),
    ],
)
def test_completions_end_where_they_should_and_stream_what_they_return(text, options, kept, why):
    shown, most = [], options.pop("most", 60)
    (found,) = complete(
        Script(text, TOKENIZER),
        TOKENIZER,
        ["def f():\n    return  "],
        GREEDY,
        most,
        show=lambda _, x: shown.append(x),
        **options,
    )
    assert (found.text, found.why) == (kept, why)
    assert "".join(shown) == kept, "what was shown is what is returned"
    assert len(found.ids) == len(found.probs) > 0 and all(prob == 1 for prob in found.probs)


def test_text_from_a_real_model_for_several_prompts():
    model = gpt(vocab_size=TOKENIZER.vocab_size)
    prompts = ["def a", "def bc("]
    found = complete(model, TOKENIZER, prompts, HOT, 8, seeds=[3, 4], function=False)
    alone = [complete(model, TOKENIZER, [prompt], HOT, 8, seeds=[3 + i])[0] for i, prompt in enumerate(prompts)]
    assert [one.ids for one in found] == [one.ids for one in alone]
    assert all(one.text == TOKENIZER.decode(one.ids) or one.why == "end" for one in found)
