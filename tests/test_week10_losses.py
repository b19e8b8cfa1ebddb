"""Week 10's formulas: what must hold of log-probabilities, of the losses made of them, and of a reward model's.

Against trl: test_week10_trl.py.

The tests marked `exercise(K)` are what `./course check 10` holds a learner's piece K to.
"""

import math
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from programs import close, gradients, refused
from torch import nn

from week10_dpo import losses as week
from week10_dpo import model as nets
from week10_dpo.losses import LogProbs

NAMES = ("chosen", "rejected", "reference_chosen", "reference_rejected")


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


def random(rng, *shape):
    return torch.randn(*shape, generator=rng, dtype=torch.float64).requires_grad_()


def pairs(chosen, rejected, chosen_tokens=(1.0,), rejected_tokens=(1.0,)):
    return LogProbs(*(torch.tensor(x, dtype=torch.float64) for x in (chosen, rejected, chosen_tokens, rejected_tokens)))


def none_of(found, expected, slips):
    """Fails with the name of the first of these slips that explains what was found, where it is not as expected."""
    if isinstance(found, torch.Tensor) and found.shape == expected.shape:
        if torch.allclose(found, expected, atol=1e-6):
            return
        for slip, wrong in slips.items():
            assert not torch.allclose(found, wrong.to(found), atol=1e-5), slip


# ---------------------------------------------------------------- exercise 1: sequence log-probabilities


def by_hand():
    """Tokens 0 and 1, each place with a share of its own for token 1. Row: prompt 0 1, answer 1 0, padding 1."""
    ones = torch.tensor([0.1, 0.2, 0.4, 0.3, 0.6])
    logits = torch.stack([(1 - ones).log(), ones.log()], dim=-1)[None]  # (1, 5, 2)
    ids, answer = torch.tensor([[0, 1, 1, 0, 1]]), torch.tensor([[False, False, True, True, False]])
    return logits, ids, answer


@pytest.mark.exercise(1)
def test_one_number_for_each_row(rng):
    found = week.sequence_log_probs(torch.zeros(3, 4, 5), torch.zeros(3, 4, dtype=torch.long), torch.ones(3, 4) > 0)
    assert isinstance(found, torch.Tensor), f"sequence_log_probs returns {found!r:.40}, should be a tensor (batch,)"
    assert found.shape == (3,), f"the log-probabilities have the shape {tuple(found.shape)}, should be (3,), one a row"


@pytest.mark.exercise(1)
def test_an_answer_by_hand():
    """Token 1 at place 2 is spoken of at place 1: 0.2. Token 0 at place 3 at place 2: 1 - 0.4. So log(0.2 * 0.6)."""
    logits, ids, answer = by_hand()
    found = week.sequence_log_probs(logits, ids, answer)
    slips = {
        "the logits of a place are about the next token: here they are read as about the place's own": [0.4, 0.7],
        "the prompt is counted, should count only as what the answer is given": [0.9 * 0 + 0.1, 0.2, 0.6],
        "the padding behind the answer is counted": [0.2, 0.6, 0.3],
        "prompt and padding are counted": [0.1, 0.2, 0.6, 0.3],
        "the first token of the answer is missing": [0.6],
        "the last token of the answer is missing": [0.2],
    }
    slips = {slip: torch.tensor([math.log(math.prod(shares))]) for slip, shares in slips.items()}
    mean = "the mean over the answer's tokens, should be their sum: probabilities of tokens are multiplied"
    none_of(found, torch.tensor([math.log(0.12)]), slips | {mean: torch.tensor([math.log(0.12) / 2])})
    close(found, torch.tensor([math.log(0.12)]), "log p of the answer")


@pytest.mark.exercise(1)
def test_sequence_log_probs_equal_cross_entropy(rng):
    """Of rows whose prompts, answers and padding all differ; and so the gradient of the logits."""
    logits, ids = random(rng, 3, 7, 11), torch.randint(11, (3, 7), generator=rng)
    answer = torch.zeros(3, 7, dtype=torch.bool)
    answer[0, 3:5], answer[1, 1:7], answer[2, 6:] = True, True, True
    labels = ids.masked_fill(~answer, -100)[:, 1:]

    def expected(logits):
        lost = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels.flatten(), reduction="none")
        return -lost.view(3, 6).sum(1)

    right, [their_gradient] = gradients(expected, logits)
    found, [gradient] = gradients(lambda logits: week.sequence_log_probs(logits, ids, answer), logits)
    close(found, right, "the log-probabilities", 1e-10)
    close(gradient, their_gradient, "the gradient of the logits", 1e-10)
    close(week.token_log_probs(logits, ids).masked_fill(~answer[:, 1:], 0).sum(1), right, "token by token", 1e-10)


@pytest.mark.exercise(1)
def test_prompt_and_padding_change_nothing(rng):
    logits, ids = random(rng, 1, 6, 5), torch.randint(5, (1, 6), generator=rng)
    answer = torch.tensor([[False, False, True, True, False, False]])
    found = week.sequence_log_probs(logits, ids, answer)
    other = logits.detach().clone()
    other[:, 0] += 3 * torch.randn(5, generator=rng)
    other[:, 3:] -= torch.randn(3, 5, generator=rng)
    close(week.sequence_log_probs(other, ids, answer), found, "log p of the same answer, with other logits elsewhere")


# ---------------------------------------------------------------- exercise 2: the DPO loss


@pytest.mark.exercise(2)
def test_it_starts_at_ln_2(rng):
    same = [torch.tensor([-5.0, -40.0]), torch.tensor([-7.0, -3.0])]
    found = week.dpo_loss(*same, *same, beta=0.1)
    assert isinstance(found, torch.Tensor) and found.shape == (2,), "must be a tensor (pairs,), the loss of each pair"
    none_of(found, torch.full((2,), math.log(2)), {
        "the reference is not used: a policy that is the reference must start at ln 2":
            -F.logsigmoid(0.1 * (same[0] - same[1])),
    })  # fmt: skip
    close(found, torch.full((2,), math.log(2)), "the loss while policy and reference are the same")


def four():
    """chosen -10, rejected -12, reference -11 and -11: r is 1 and -1, so with beta 0.5 the loss is -log sigmoid(1)."""
    return [torch.tensor([x], dtype=torch.float64) for x in (-10.0, -12.0, -11.0, -11.0)]


@pytest.mark.exercise(2)
def test_a_pair_by_hand():
    found, expected = week.dpo_loss(*four(), beta=0.5), torch.tensor([math.log(1 + math.exp(-1))]).double()
    loss = lambda x: torch.tensor([math.log(1 + math.exp(-x))])  # noqa: E731
    none_of(found, expected, {
        "the sign is turned: the policy has moved towards the chosen answer, and the loss is above ln 2": loss(-1),
        "beta is not used": loss(2),
        "what is returned is the logarithm of the sigmoid; a loss is minus it": -loss(1),
        "policy and reference are added, should be one less the other": loss(0.5 * (-21 + 23)),
        "this is the sigmoid, its logarithm is missing": torch.tensor([1 / (1 + math.exp(-1))]),
    })  # fmt: skip
    close(found, expected, "the loss of the pair", 1e-9)


@pytest.mark.exercise(2)
def test_dpo_is_exact_far_out(rng):
    far = torch.tensor([-1e4, 1e4], dtype=torch.float64)
    zero = torch.zeros(2, dtype=torch.float64)
    found = week.dpo_loss(far, zero, zero, zero, beta=1.0)
    assert torch.isfinite(found).all(), "far out the loss is inf: take the logarithm of the sigmoid in one function"
    close(found, torch.tensor([1e4, 0.0]), "the loss of pairs that are 1e4 apart", 1e-9)


@pytest.mark.exercise(2)
def test_the_gradient_is_that_of_the_paper(rng):
    """-beta sigmoid(r_rejected - r_chosen) for the chosen one, the same with plus for the rejected one."""
    inputs = [random(rng, 6) for _ in NAMES]
    found = torch.autograd.grad(week.dpo_loss(*inputs, beta=0.3).sum(), inputs[:2])
    difference = 0.3 * ((inputs[0] - inputs[2]) - (inputs[1] - inputs[3]))
    close(found[0], -0.3 * (-difference).sigmoid(), "the gradient of the chosen log-probability", 1e-9)
    close(found[1], 0.3 * (-difference).sigmoid(), "the gradient of the rejected log-probability", 1e-9)


# ---------------------------------------------------------------- exercise 3: rewards and margins, the reference


@pytest.mark.exercise(3)
def test_rewards_by_hand():
    policy, reference = pairs([-10.0, -4.0], [-12.0, -4.0]), pairs([-11.0, -2.0], [-11.0, -6.0])
    both = week.rewards(policy, reference, beta=0.5)
    assert isinstance(both, tuple) and len(both) == 2, f"rewards returns {both!r:.30}, should be (chosen, rejected)"
    for found, expected, name in zip(both, ([0.5, -1.0], [-0.5, 1.0]), ("chosen", "rejected"), strict=True):
        expected = torch.tensor(expected).double()
        none_of(found, expected, {
            f"beta is not used in the rewards of the {name}": 2 * expected,
            f"the rewards of the {name} have the wrong sign: they are above 0 where the policy is": -expected,
        })  # fmt: skip
        close(found, expected, f"the rewards of the {name}", 1e-9)
    margins = week.margins(*both)
    none_of(margins, torch.tensor([1.0, -2.0]).double(), {
        "the margins have the wrong sign: above 0 is the chosen one ahead": torch.tensor([-1.0, 2.0]),
        "the margins are multiplied by beta, which the rewards have in them already": torch.tensor([0.5, -1.0]),
        "the margins are multiplied by 0.1, a beta; the rewards have theirs in them already": torch.tensor([0.1, -0.2]),
    })  # fmt: skip
    close(margins, torch.tensor([1.0, -2.0]), "the margins", 1e-9)
    share = week.accuracy(*both)
    assert isinstance(share, float), f"the accuracy is {share!r:.30}, should be a float"
    assert share == 0.5, f"one pair of two is right: the accuracy is {share}, should be 0.5"
    draw = week.accuracy(torch.zeros(3), torch.zeros(3))
    assert draw == 0, f"three draws: the accuracy is {draw}, should be 0, since no chosen answer is ahead"


@pytest.mark.exercise(3)
def test_no_gradient_goes_through_rewards(rng):
    policy = LogProbs(random(rng, 3), random(rng, 3), torch.ones(3), torch.ones(3))
    reference = LogProbs(random(rng, 3), random(rng, 3), torch.ones(3), torch.ones(3))
    assert not any(found.requires_grad for found in week.rewards(policy, reference)), "a gradient goes through rewards"
    chosen, rejected = week.rewards(policy, policy)
    assert not chosen.any() and not rejected.any(), "the rewards are not 0 where policy and reference are the same"


class Noisy(nn.Module):
    """A policy of one number with an adapter that adds 1, and dropout."""

    def __init__(self):
        super().__init__()
        self.weight, self.drop, self.adapter = nn.Parameter(torch.ones(64)), nn.Dropout(0.5), True

    @contextmanager
    def disable_adapter(self):
        self.adapter = False
        yield
        self.adapter = True

    def forward(self):
        return self.drop(self.weight) + self.adapter


@pytest.mark.exercise(3)
def test_the_reference_is_the_policy_without_its_adapters():
    policy = Noisy().train()
    with nets.reference(policy) as asked:
        assert asked is not None, "reference yields None, should be the model to ask"
        found = asked()
    assert not (found > 1).all(), "the adapters are on: this is the policy, not the reference"
    assert (found == 1).all(), "something drops out of the reference: it must be in evaluation mode"
    assert not found.requires_grad, "the reference keeps gradients, which cost memory and are never used"
    assert policy.training, "afterwards the policy is in evaluation mode, and was in training mode"
    assert policy.adapter, "afterwards the adapters are off, and were on"
    with nets.reference(policy.eval()):
        pass
    assert not policy.training, "afterwards the policy is in training mode, and was in evaluation mode"


@pytest.mark.exercise(3)
def test_an_error_meanwhile_leaves_the_policy_as_it_was():
    policy = Noisy().train()
    with pytest.raises(MemoryError), nets.reference(policy):
        raise MemoryError  # as when the reference's batch does not fit
    assert policy.training, "after an error inside `with`, the mode is not restored: try … finally"


@pytest.mark.exercise(3)
def test_the_reference_may_be_a_copy():
    policy, copy_of = Noisy(), Noisy().train()
    with torch.no_grad():
        copy_of.weight.fill_(3)
    copy_of.adapter = False
    with nets.reference(policy, copy_of) as asked:
        assert asked is copy_of, "what is asked is not the frozen copy"
        found = asked()
    assert (found == 3).all(), "something drops out of the reference: it must be in evaluation mode"
    assert not found.requires_grad, "the reference keeps gradients, which cost memory and are never used"


# ---------------------------------------------------------------- exercise 4: the Bradley-Terry loss


@pytest.mark.exercise(4)
def test_scores_by_hand():
    """Scores 2 and 0: the chosen one wins with e^2 / (e^2 + e^0) = 0.8808, which costs 0.1269. Equal ones cost ln 2."""
    chosen, rejected = torch.tensor([2.0, 1.0, 0.0]), torch.tensor([0.0, 1.0, 2.0])
    found, expected = week.bradley_terry_loss(chosen, rejected), torch.tensor([0.126928, 0.693147, 2.126928])
    assert isinstance(found, torch.Tensor) and found.shape == (3,), "must be a tensor (pairs,), the loss of each pair"
    none_of(found, expected, {
        "the sign is turned: the loss is small where the rejected answer is ahead": expected.flip(0),
        "this is the probability that the chosen one wins; the loss is -log of it": (-expected).exp(),
        "this is the logarithm of the probability; the loss is minus it": -expected,
    })  # fmt: skip
    close(found, expected, "the loss of scores that are 2, 0 and -2 apart")


@pytest.mark.exercise(4)
def test_the_margin_asks_for_more():
    scores = torch.tensor([3.0]), torch.tensor([1.0])
    expected = torch.tensor([math.log(2)])
    none_of(week.bradley_terry_loss(*scores, margin=2.0), expected, {
        "the margin is not used": week.bradley_terry_loss(*scores),
        "the margin makes it easier, should make it harder": torch.tensor([math.log(1 + math.exp(-4))]),
    })  # fmt: skip
    close(week.bradley_terry_loss(*scores, margin=2.0), expected, "the loss of scores 2 apart that should be 2 apart")


@pytest.mark.exercise(4)
def test_bradley_terry_is_exact_far_out_and_so_is_its_gradient(rng):
    found = week.bradley_terry_loss(torch.tensor([-1e4, 1e4]), torch.zeros(2))
    assert torch.isfinite(found).all(), "scores that are far apart cost inf: a sigmoid of -1e4 is 0, and log 0 is -inf"
    close(found, torch.tensor([1e4, 0.0]), "the loss of scores that are 1e4 apart")
    chosen, rejected = random(rng, 5), random(rng, 5)
    right, theirs = gradients(lambda a, b: -(a.exp() / (a.exp() + b.exp())).log(), chosen, rejected)
    ours, mine = gradients(week.bradley_terry_loss, chosen, rejected)
    close(ours, right, "the loss", 1e-9)
    for name, a, b in zip(("chosen", "rejected"), mine, theirs, strict=True):
        close(a, b, f"the gradient of the {name} scores", 1e-9)


# ---------------------------------------------------------------- the other losses


def test_conservative_dpo_is_the_papers(rng):
    policy, reference = pairs([-10.0], [-12.0]), pairs([-11.0], [-11.0])
    found = week.preference_loss(policy, reference, "cdpo", beta=0.5, label_smoothing=0.1)
    by_hand = 0.9 * math.log(1 + math.exp(-1)) + 0.1 * math.log(1 + math.exp(1))
    close(found, torch.tensor([by_hand], dtype=torch.float64), "the loss of the pair", 1e-9)
    plain = week.preference_loss(policy, reference, "cdpo", beta=0.5)
    close(plain, week.preference_loss(policy, reference, "dpo", beta=0.5), "without smoothing", 1e-12)
    # It is lowest where sigmoid of the margin is 1 - eps: there it stops, where dpo goes on for ever.
    chosen = torch.tensor([math.log(9) / 0.5], dtype=torch.float64, requires_grad=True)
    at = LogProbs(chosen, torch.zeros(1), torch.ones(1), torch.ones(1))
    loss = week.preference_loss(at, pairs([0.0], [0.0]), "cdpo", beta=0.5, label_smoothing=0.1)
    assert abs(torch.autograd.grad(loss.sum(), chosen)[0].item()) < 1e-12


def test_normalised_losses_count_tokens():
    """r / n is 4 / 4 and -6 / 3, so the difference is 3."""
    policy, reference = pairs([-8.0], [-12.0], [4.0], [3.0]), pairs([-12.0], [-6.0], [4.0], [3.0])
    close(week.preference_loss(policy, reference, "ipo", 0.25), torch.tensor([1.0]), "ipo, (3 - 1 / 0.5)^2", 1e-12)
    expected = torch.tensor([math.log(1 + math.exp(-1.5))], dtype=torch.float64)
    close(week.preference_loss(policy, reference, "dpo_norm", 0.5), expected, "dpo_norm, -log sigmoid(1.5)", 1e-9)


def test_all_losses_fall_towards_the_chosen_answer():
    for name in week.LOSSES:
        chosen, rejected = (torch.zeros(1, dtype=torch.float64, requires_grad=True) for _ in range(2))
        policy = LogProbs(chosen, rejected, torch.full((1,), 5), torch.full((1,), 7))
        loss = week.preference_loss(policy, pairs([0.0], [0.0]), name)
        up, down = torch.autograd.grad(loss.sum(), (chosen, rejected))
        assert up < 0 < down, name
        if name != "ipo":
            assert abs(loss.item() - math.log(2)) < 1e-12, name


def test_what_makes_no_sense_is_refused():
    nothing = pairs([0.0], [0.0])
    assert refused(week.preference_loss, nothing, nothing, "dpo", 0.1, 0.2) == (
        "--label-smoothing 0.2: only --loss cdpo has it, not dpo."
    )


def test_the_kl_estimate_is_right_and_never_negative(rng):
    logits, reference = random(rng, 9).log_softmax(0), random(rng, 9).log_softmax(0)
    estimate = week.kl_estimate(logits, reference)
    assert (estimate >= 0).all()
    close((logits.exp() * estimate).sum(), F.kl_div(reference, logits, reduction="sum", log_target=True), "KL", 1e-9)


def test_halves():
    found = LogProbs.halves(torch.arange(4.0), torch.arange(4) + 10)
    assert [x.tolist() for x in (found.chosen, found.rejected)] == [[0, 1], [2, 3]]
    assert [x.tolist() for x in (found.chosen_tokens, found.rejected_tokens)] == [[10, 11], [12, 13]]
