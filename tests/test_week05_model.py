"""Attention against written-out loops, padding, the future, and the search against trying everything."""

import itertools
import math

import numpy as np
import pytest
import torch
from programs import close, gradients
from torch import nn
from torch.nn import functional as F

from shared.sentence_pairs import BOS, EOS, PAD
from week05_attention import data
from week05_attention.model import (
    ATTENTION,
    AdditiveAttention,
    DotAttention,
    Encoder,
    GeneralAttention,
    Seq2Seq,
    Seq2SeqConfig,
    beam_step,
    masked_softmax,
    reverse,
    translate,
    translation_loss,
)

KINDS = ("additive", "dot", "general", "none")


def rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def small(attention="additive", source=11, target=9, hidden=8, seed=0, scale=1.0):
    torch.manual_seed(seed)
    model = Seq2Seq(Seq2SeqConfig(source, target, attention, embed=6, hidden=hidden, dropout=0.0)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    return model


def ids(*rows):
    return torch.tensor([[*row, *[PAD] * (max(map(len, rows)) - len(row))] for row in rows])


SOURCE = ids([5, 6, 7, 8, EOS], [9, 4, EOS], [10, EOS])
TARGET = ids([4, 5, EOS], [6, 7, 8, 5, 4, EOS], [8, EOS])


# ---------------------------------------------------------------- 1: the additive score


def additive(hidden=6, seed=0):
    torch.manual_seed(seed)
    return AdditiveAttention(hidden)


@pytest.mark.exercise(1)
def test_the_score_of_two_numbers_by_hand():
    """One unit, W = 1, v = 2: the query 0.5 and the keys 0, 1 and -3 have 2 tanh(0.5), 2 tanh(1.5) and 2 tanh(-2.5)."""
    attention = additive(1)
    with torch.no_grad():
        attention.W.weight.fill_(1.0)
        attention.v.weight.fill_(2.0)
    found = attention.score(torch.tensor([[0.5]]), torch.tensor([[[0.0], [1.0], [-3.0]]])).flatten()
    if len(found) != 3:
        raise AssertionError(f"three keys have {len(found)} scores, should have 3: by content, not by position")
    wanted = [2 * math.tanh(x) for x in (0.5, 1.5, -2.5)]
    if found[2] == 0:
        raise AssertionError("tanh(-2.5) is 0, should be -0.987: the paper squeezes with tanh, a relu has no below")
    if abs(float(found[2]) + 5) < 1e-3:
        raise AssertionError("the score of the key -3 is -5, should be -1.973: tanh is missing")
    if abs(float(found[0])) < 1e-6:
        raise AssertionError("the query does not count: the score of the key 0 is 0, should be 2 tanh(0.5) = 0.924")
    close(found, np.array(wanted), "the score")


@pytest.mark.exercise(1)
def test_a_score_for_each_position():
    attention = additive()
    scores = attention.score(rand(2, 6), rand(2, 5, 6, seed=1))
    assert tuple(scores.shape) == (2, 5), f"the scores have the shape {tuple(scores.shape)}, should be (2, 5)"


@pytest.mark.exercise(1)
def test_the_score_is_by_content_and_not_by_position():
    """The same key has the same score wherever it stands: a layer that gives each position a number is no attention."""
    attention, query, keys = additive(), rand(2, 6), rand(2, 5, 6, seed=1)
    order = torch.tensor([3, 0, 4, 1, 2])
    found, moved = attention.score(query, keys), attention.score(query, keys[:, order])
    close(moved, found[:, order].detach(), "with the keys in another order, the score")


@pytest.mark.exercise(1)
def test_the_score_is_the_written_out_loop():
    attention, query, keys = additive(), rand(2, 6), rand(2, 5, 6, seed=1)
    W, v = attention.W.weight.detach(), attention.v.weight.detach()[0]
    wanted = torch.zeros(2, 5)
    for b in range(2):
        for j in range(5):
            for k in range(6):
                inner = sum(float(W[k, i] * query[b, i]) for i in range(6)) + float(keys[b, j, k])
                wanted[b, j] += float(v[k]) * math.tanh(inner)
    close(attention.score(query, keys), wanted, "the score")


# ---------------------------------------------------------------- 2: the masked softmax

MASK = torch.tensor([[True, True, True, False], [True, False, False, False]])


@pytest.mark.exercise(2)
def test_the_words_of_one_sentence_share_the_whole():
    """Two words that are alike have a half each, whatever the other sentence of the batch has."""
    found = masked_softmax(torch.tensor([[1.0, 1.0], [0.0, 9.0]]), torch.ones(2, 2, dtype=torch.bool))
    if abs(float(found[:, 0].sum()) - 1) < 1e-4:
        raise AssertionError(
            "the first words of all sentences share a whole, should each sentence's words: softmax's axis"
        )
    close(found[0], np.array([0.5, 0.5]), "of two words that are alike, the weight")


@pytest.mark.exercise(2)
def test_one_word_gets_all():
    found = masked_softmax(torch.tensor([[0.0, 9.0]]), torch.tensor([[True, False]]))
    padding = float(found[0, 1])
    if padding == 1:
        raise AssertionError("padding gets all, the word nothing: the mask is True at words, and taken the wrong way")
    assert padding == 0, f"padding is looked at: beside one word its weight is {padding:.4f}, should be 0"
    close(found, np.array([[1.0, 0.0]]), "one word and padding behind it: the weight", 1e-6)


@pytest.mark.exercise(2)
def test_padding_weighs_nothing():
    found = masked_softmax(rand(2, 4), MASK)
    heaviest = float(found[~MASK].abs().max())
    assert heaviest == 0, f"the weight of padding is {heaviest:.4g}, should be 0"


@pytest.mark.exercise(2)
def test_the_weights_of_a_sentence_sum_to_one():
    found = masked_softmax(rand(2, 4), MASK).sum(1)
    close(found, np.ones(2), "the weights of one sentence sum to what", 1e-6)


@pytest.mark.exercise(2)
def test_negative_scores_are_as_good_as_positive_ones():
    """Only differences count: all scores 50 lower give the same weights."""
    scores = rand(2, 4)
    close(masked_softmax(scores - 50, MASK), masked_softmax(scores, MASK), "with scores 50 lower, the weight")


@pytest.mark.exercise(2)
@pytest.mark.parametrize(("scores", "where"), [((0.0, 200.0), "on padding"), ((200.0, 0.0), "on a word")])
def test_a_score_of_200_is_a_number_like_any_other(scores, where):
    """e to the 200 is infinite: a softmax that is not torch's, or a mask that comes after it, makes 0/0 of it."""
    found = masked_softmax(torch.tensor([scores]), torch.tensor([[True, False]]))
    close(found, np.array([[1.0, 0.0]]), f"with a score of 200 {where}, the weight", 1e-6)


@pytest.mark.exercise(2)
def test_the_softmax_is_that_of_the_words_alone_and_so_is_its_gradient():
    scores = rand(1, 4).requires_grad_()
    upstream = rand(1, 4, seed=1)
    found = masked_softmax(scores, MASK[:1])
    alone = scores[:, :3].softmax(1)
    close(found[:, :3], alone.detach(), "the weight")
    (gradient,) = torch.autograd.grad(found, scores, upstream)
    (wanted,) = torch.autograd.grad(alone, scores, upstream[:, :3])
    close(gradient, wanted, "the gradient of a score")


# ---------------------------------------------------------------- the other scores, and all of attention


@pytest.mark.parametrize("scaled", [True, False])
def test_dot_and_general_are_their_formulas(scaled):
    query, keys = rand(2, 9), rand(2, 5, 9, seed=1)
    divisor = 3.0 if scaled else 1.0
    dot = DotAttention(9, scaled)
    wanted = torch.einsum("bh,bsh->bs", query, keys) / divisor
    torch.testing.assert_close(dot.score(query, dot.keys(keys)), wanted)
    general = GeneralAttention(9, scaled)
    wanted = torch.einsum("bi,ij,bsj->bs", query, general.W.weight, keys) / divisor
    torch.testing.assert_close(general.score(query, general.keys(keys)), wanted)


@pytest.mark.parametrize("kind", ATTENTION)
def test_keys_are_projected_once_a_sentence(kind, monkeypatch):
    model, calls = small(kind), []
    keys = model.decoder.attention.keys
    monkeypatch.setattr(model.decoder.attention, "keys", lambda annotations: calls.append(1) or keys(annotations))
    model(SOURCE, TARGET)
    translate(model, SOURCE, beam=2, most=5)
    assert len(calls) == 2


@pytest.mark.parametrize("kind", ATTENTION)
def test_weights_are_a_distribution_over_the_words(kind):
    _, weights = small(kind)(SOURCE, TARGET)
    assert weights.shape == (3, 6, 5)
    torch.testing.assert_close(weights.sum(2), torch.ones(3, 6))
    there = (SOURCE != PAD)[:, None].expand_as(weights)
    assert (weights[~there] == 0).all() and (weights[there] > 0).all()


# ---------------------------------------------------------------- encoder


def test_reverse_turns_the_words_and_leaves_the_padding():
    x = torch.arange(1, 11.0).view(2, 5, 1)
    assert reverse(x, torch.tensor([5, 2])).flatten().tolist() == [5, 4, 3, 2, 1, 7, 6, 8, 9, 10]


def test_the_encoder_is_torchs_bidirectional_gru_on_packed_sentences():
    """Forward and gradients; without packing, the backward state of a short sentence would have begun on padding."""
    torch.manual_seed(0)
    ours = Encoder(Seq2SeqConfig(11, 9, embed=6, hidden=8, dropout=0.0))
    theirs = nn.GRU(6, 4, batch_first=True, bidirectional=True)
    with torch.no_grad():
        for name in ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"):
            getattr(theirs, name).copy_(getattr(ours.forwards, name))
            getattr(theirs, f"{name}_reverse").copy_(getattr(ours.backwards, name))
    lengths = (SOURCE != PAD).sum(1)

    def packed(x):
        sentences = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True)
        return nn.utils.rnn.pad_packed_sequence(theirs(sentences)[0], batch_first=True)[0]

    wanted = packed(ours.embedding(SOURCE))
    annotations, back = ours(SOURCE)
    there = (SOURCE != PAD)[..., None]
    torch.testing.assert_close(annotations * there, wanted, atol=1e-6, rtol=0)
    torch.testing.assert_close(back, wanted[:, 0, 4:], atol=1e-6, rtol=0)
    upstream = rand(*wanted.shape)
    (found,) = torch.autograd.grad(annotations * there, ours.embedding.weight, upstream, retain_graph=True)
    (expected,) = torch.autograd.grad(wanted, ours.embedding.weight, upstream)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


# ---------------------------------------------------------------- the whole


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_gives_what_its_sentences_give_alone(kind):
    model = small(kind)
    logits, _ = model(SOURCE, TARGET)
    for row in range(3):
        source, target = (x[row : row + 1, : (x[row] != PAD).sum()] for x in (SOURCE, TARGET))
        alone, _ = model(source, target)
        torch.testing.assert_close(logits[row : row + 1, : target.shape[1]], alone, atol=1e-5, rtol=0)
    for beam in (1, 3):
        together = translate(model, SOURCE, beam, most=6)
        for row in range(3):
            alone = translate(model, SOURCE[row : row + 1, : (SOURCE[row] != PAD).sum()], beam, most=6)
            width = alone.ids.shape[1]
            assert together.ids[row, :width].tolist() == alone.ids[0].tolist()
            assert (together.ids[row, width:] == PAD).all()


@pytest.mark.parametrize("kind", KINDS)
def test_the_decoder_does_not_see_the_future(kind):
    """The logits of word t do not depend on the target from t on, whatever stands there."""
    model = small(kind)
    logits, _ = model(SOURCE, TARGET)
    for t in range(1, TARGET.shape[1]):
        other = TARGET.clone()
        other[:, t:] = 4 + (other[:, t:] + 1) % 5
        torch.testing.assert_close(model(SOURCE, other)[0][:, : t + 1], logits[:, : t + 1], atol=0, rtol=0)


def test_the_decoder_sees_the_source_and_without_attention_it_does_too():
    for kind in KINDS:
        model, other = small(kind), SOURCE.clone()
        other[0, 3] = 4
        assert (model(SOURCE, TARGET)[0][0] != model(other, TARGET)[0][0]).any()


def test_own_words_are_fed_in_where_they_are_asked_for():
    model = small(scale=2.0)
    teacher, _ = model(SOURCE, TARGET)
    torch.testing.assert_close(model(SOURCE, TARGET, own=0.0)[0], teacher)
    free, _ = model(SOURCE, TARGET, own=1.0)
    greedy = translate(model, SOURCE, most=6).ids
    torch.testing.assert_close(free[:, 0], teacher[:, 0])
    for row in range(3):
        words = (greedy[row] != PAD).sum()
        assert free[row, :words].argmax(1).tolist() == greedy[row, :words].tolist(), "with its own words, it is greedy"


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_learns(kind):
    model = small(kind)
    logits, _ = model(SOURCE, TARGET)
    translation_loss(logits, TARGET).backward()
    still = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_one_batch_is_learned_by_heart():
    torch.manual_seed(0)
    model = Seq2Seq(Seq2SeqConfig(11, 9, embed=16, hidden=24, dropout=0.0))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(120):
        optimizer.zero_grad()
        loss = translation_loss(model(SOURCE, TARGET)[0], TARGET)
        loss.backward()
        optimizer.step()
    assert loss < 0.02
    found = translate(model, SOURCE, beam=3).ids
    assert found[:, :6].tolist() == TARGET.tolist() and not found[:, 6:].any()


# ---------------------------------------------------------------- 3: the loss


@pytest.mark.exercise(3)
def test_the_loss_of_one_word():
    """Three words, all alike: -log of a third."""
    found = translation_loss(torch.zeros(1, 1, 3), torch.tensor([[2]]))
    close(found, math.log(3), "the loss of a word among three that are alike")


@pytest.mark.exercise(3)
def test_padding_costs_nothing():
    """A sentence and its padding cost what the sentence costs alone; the padded places' logits have no gradient."""
    logits, target = rand(1, 3, 5), torch.tensor([[4, EOS]])
    alone = float(translation_loss(logits[:, :2], target))
    padded = logits.clone().requires_grad_()
    loss = translation_loss(padded, F.pad(target, (0, 1)))
    (gradient,) = torch.autograd.grad(loss, padded)
    if gradient[0, 2].any():
        raise AssertionError("padding is learned: its logits have a gradient, should have none")
    close(loss, alone, "the loss of a padded sentence")


@pytest.mark.exercise(3)
def test_every_word_weighs_the_same():
    logits, target = rand(2, 4, 5), torch.tensor([[4, 3, 4, EOS], [EOS, PAD, PAD, PAD]])
    log_probs = logits.log_softmax(2)
    each = [-float(log_probs[b, t, target[b, t]]) for b in range(2) for t in range(4) if target[b, t] != PAD]
    found = translation_loss(logits, target)
    by_sentence = (np.mean(each[:4]) + each[4]) / 2
    if abs(float(found) - by_sentence) < 1e-5:
        raise AssertionError(
            f"the loss is {float(found):.4f}, the mean over sentences, should be over words: {np.mean(each):.4f}"
        )
    if abs(float(found) - sum(each)) < 1e-4:
        raise AssertionError(
            f"the loss is {float(found):.4f}, the sum over words, should be their mean: {np.mean(each):.4f}"
        )
    close(found, np.mean(each), "the loss")


# ---------------------------------------------------------------- 4: one step of the beam


def step(totals, log_probs, finished=None):
    totals, log_probs = torch.tensor(totals), torch.tensor(log_probs)
    finished = torch.zeros(totals.shape, dtype=torch.bool) if finished is None else torch.tensor(finished)
    best, parents, words = beam_step(totals, log_probs, finished)
    return best, parents.tolist(), words.tolist()


# One sentence, two hypotheses, six words.
LOG_PROBS = [[[-9.0, -9.0, -9.0, -3.0, -1.0, -2.0], [-9.0, -9.0, -9.0, -1.0, -4.0, -5.0]]]


@pytest.mark.exercise(4)
def test_two_hypotheses_by_hand():
    """Totals 0 and -0.5: the best are word 4 of the first (-1), word 3 of the second (-1.5), word 5 of the first."""
    best, parents, words = step([[0.0, -0.5]], LOG_PROBS)
    if words == [[4, 3]] and parents != [[0, 1]]:
        raise AssertionError(f"the parents are {parents[0]}, should be [0, 1]: the place is parent * V + word")
    assert words == [[4, 3]], f"the words are {words[0]}, should be [4, 3]"
    close(best, np.array([[-1.0, -1.5]]), "the total")


@pytest.mark.exercise(4)
def test_both_may_come_from_one_hypothesis():
    _, parents, words = step([[0.0, -5.0]], LOG_PROBS)
    assert (parents, words) == ([[0, 0]], [[4, 5]]), (
        f"a hypothesis far ahead has parents {parents[0]} and words {words[0]}, should have [0, 0] and [4, 5]: "
        "the best of all K times V, not of each"
    )


@pytest.mark.exercise(4)
def test_what_has_been_won_before_counts():
    _, parents, _ = step([[-5.0, 0.0]], LOG_PROBS)
    assert parents[0][0] == 1, "the first parent is 0, should be 1: totals are added up, the last word is not all"


@pytest.mark.exercise(4)
def test_what_is_finished_waits_at_no_cost():
    best, parents, words = step([[-0.2, -0.5]], LOG_PROBS, [[True, False]])
    assert words[0][0] == PAD, f"what is finished goes on with word {words[0][0]}, should go on with PAD ({PAD})"
    close(best, np.array([[-0.2, -1.5]]), "with the first hypothesis finished, the total")
    assert parents == [[0, 1]]


@pytest.mark.exercise(4)
def test_sentences_do_not_mix():
    totals = [[0.0, -0.5], [-0.5, 0.0]]
    best, parents, words = step(totals, [LOG_PROBS[0], LOG_PROBS[0][::-1]])
    assert (parents, words) == ([[0, 1], [1, 0]], [[4, 3], [4, 3]])
    close(best, np.array([[-1.0, -1.5]] * 2), "the total")


# ---------------------------------------------------------------- the search


@pytest.mark.parametrize("kind", KINDS)
def test_a_beam_of_one_is_greedy(kind):
    model = small(kind, scale=2.0)
    found = translate(model, SOURCE, beam=1, most=7)
    for row in range(3):
        written = []
        while len(written) < 7 and (not written or written[-1] != EOS):
            target = torch.tensor([[*written, PAD]])
            written.append(int(model(SOURCE[row : row + 1], target)[0][0, -1].argmax()))
        width = len(written)
        assert found.ids[row, :width].tolist() == written


@pytest.mark.parametrize("alpha", [0.0, 0.6, 1.0])
def test_a_wide_beam_finds_what_trying_everything_finds(alpha):
    """All sentences of at most three words of six: the best by log p over the length penalty."""
    model, most, V = small(target=6, scale=2.5, seed=3), 3, 6
    source = SOURCE[:1]
    best = (-math.inf, None, None)
    words = [word for word in range(V) if word != EOS]
    candidates = [[*head, EOS] for n in range(most) for head in itertools.product(words, repeat=n)]
    candidates += [list(head) for head in itertools.product(words, repeat=most)]
    for written in candidates:
        target = torch.tensor([written])
        log_probs = model(source, target)[0].log_softmax(2)[0]
        total = sum(float(log_probs[t, word]) for t, word in enumerate(written))
        length = sum(word != PAD for word in written)
        score = total / ((5 + length) / 6) ** alpha
        if score > best[0] + 1e-7:
            best = (score, written, total)
    found = translate(model, source, beam=V**most, most=most, alpha=alpha)
    written = found.ids[0].tolist()
    assert written[: len(best[1])] == best[1]
    assert float(found.log_probs[0]) == pytest.approx(best[2], abs=1e-4)


def test_a_wider_beam_is_never_less_likely_than_greedy():
    model = small(scale=2.0)
    likely = [translate(model, SOURCE, beam, most=8, alpha=0.0).log_probs for beam in (1, 9 * 9)]
    assert (likely[1] >= likely[0] - 1e-5).all()


def test_translations_carry_the_weights_they_were_written_with():
    model = small(scale=2.0)
    found = translate(model, SOURCE, beam=4, most=6)
    for row in range(3):
        words = int((found.ids[row] != PAD).sum())
        _, weights = model(SOURCE[row : row + 1], found.ids[row : row + 1, :words])
        torch.testing.assert_close(found.weights[row, :words], weights[0], atol=1e-5, rtol=0)


# ---------------------------------------------------------------- a language with known alignments


def test_the_sanity_language_is_what_it_says():
    language = data.sanity_language(200, np.random.default_rng(0))
    dictionary = {}
    doubled = moved = 0
    for source, target, origin in zip(
        language.encoded.sources, language.encoded.targets, language.origins, strict=True
    ):
        assert source[-1] == target[-1] == EOS and len(target) == len(origin) and BOS not in source
        for word, place in zip(target, origin, strict=True):
            assert dictionary.setdefault(source[place], word) == word, "one translation a word"
        doubled += len(origin) - len(set(origin))
        moved += origin != sorted(origin)
    assert doubled > 50 and moved > 50 and len(set(dictionary.values())) == len(dictionary)


def test_attention_finds_the_word_it_translates():
    """BLEU cannot see where a network looks; here it is counted. Off by one step, the maps would fail."""
    from week05_attention import sanity

    cfg = sanity.Config(steps=500)
    model = sanity.train_on(cfg)
    language = data.sanity_language(200, np.random.default_rng([0, 2]))
    exact, maps = sanity.look(model, language)
    assert exact > 0.9
    assert sanity.hits(maps, language.origins) >= 0.95
    assert sanity.hits(maps, language.origins, shift=1) < 0.5


def test_gradients_reach_the_query_and_the_keys():
    """Forward and backward of additive attention against plain autograd on the written-out formula."""
    attention = additive()
    query, keys, values = rand(2, 6), rand(2, 4, 6, seed=1), rand(2, 4, 6, seed=2)

    def ours(q, k, v):
        weights = masked_softmax(attention.score(q, k), MASK)
        return (weights[:, None] @ v).squeeze(1)

    def written_out(q, k, v):
        rows = []
        for b in range(2):
            there = MASK[b].nonzero().flatten().tolist()
            scores = torch.stack(
                [attention.v.weight[0] @ torch.tanh(attention.W.weight @ q[b] + k[b, j]) for j in there]
            )
            weights = scores.exp() / scores.exp().sum()
            rows.append(sum(w * v[b, j] for w, j in zip(weights, there, strict=True)))
        return torch.stack(rows)

    inputs = [x.requires_grad_() for x in (query, keys, values)]
    for one, other in zip(*(gradients(f, *inputs) for f in (ours, written_out)), strict=True):
        for a, b in zip(
            one if isinstance(one, tuple) else [one], other if isinstance(other, tuple) else [other], strict=True
        ):
            torch.testing.assert_close(a, b, atol=1e-6, rtol=0)
