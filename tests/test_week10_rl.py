"""Week 10's PPO and GRPO: each formula by hand, and both on a bandit whose best policy is known.

Against trl, and with a language model: test_week10_trl.py.
"""

from types import SimpleNamespace

import pytest
import torch
from programs import close, refused
from torch import nn

from week10_dpo import grpo, ppo
from week10_dpo.losses import token_log_probs
from week10_dpo.ppo import PPOConfig, Written

MASK = torch.tensor([[False, True, True, True, False], [True, True, False, False, False]])


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


# ---------------------------------------------------------------- formulas


def test_the_score_comes_at_the_last_token_and_every_token_has_its_price():
    kl = torch.tensor([[9.0, 1.0, 2.0, 3.0, 9.0], [4.0, 5.0, 9.0, 9.0, 9.0]])
    found = ppo.token_rewards(torch.tensor([10.0, 20.0]), kl, MASK, beta=0.1)
    close(found, torch.tensor([[0, -0.1, -0.2, 9.7, 0], [-0.4, 19.5, 0, 0, 0]]), "the rewards")


def test_advantages_by_hand():
    """gamma 1, lam 0.5, two tokens: rewards 0 and 1, values 0.2 and 0.6.

    The last: 1 - 0.6 = 0.4. The first: 0 + 0.6 - 0.2 = 0.4, and half of what is behind it, 0.2.
    """
    mask = torch.ones(1, 2) > 0
    found, returns = ppo.advantages(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.2, 0.6]]), mask, 1.0, 0.5)
    close(found, torch.tensor([[0.6, 0.4]]), "the advantages")
    close(returns, torch.tensor([[0.8, 1.0]]), "the returns")


@pytest.mark.parametrize(("gamma", "lam"), [(1.0, 0.95), (0.9, 0.5), (1.0, 1.0), (0.9, 0.0)])
def test_advantages_are_the_papers_sum(gamma, lam, rng):
    """Equation 16: the sum over l of (gamma lam)^l delta_{t+l}; numbers outside the answer change nothing."""
    rewards, values = (torch.randn(2, 5, generator=rng) for _ in range(2))
    found, returns = ppo.advantages(rewards * MASK, values, MASK, gamma, lam)
    for row in range(2):
        places = MASK[row].nonzero().flatten().tolist()
        for t in places:
            expected = 0.0
            for u in (place for place in places if place >= t):
                after = values[row, u + 1] if u + 1 in places else 0.0
                expected += (gamma * lam) ** (u - t) * (rewards[row, u] + gamma * after - values[row, u])
            close(found[row, t], torch.as_tensor(expected), f"the advantage of token {t}")
    assert not found[~MASK].any() and not returns[~MASK].any()
    if gamma == lam == 1:
        expected = (rewards * MASK).flip(1).cumsum(1).flip(1) * MASK
        close(returns, expected, "with gamma and lam 1, the returns: all that is still to come,")


def test_whitened_over_the_answers_alone(rng):
    found = ppo.whitened(3 + 5 * torch.randn(2, 5, generator=rng), MASK)
    close(found[MASK].mean(), torch.zeros(()), "the mean")
    close(found[MASK].var(correction=0), torch.ones(()), "the variance")
    assert not found[~MASK].any()


def test_beyond_the_clip_there_is_no_gradient():
    """Ratios 1.5, 1.5, 0.5 and 0.5 with advantages 1, -1, 1 and -1: only those count that go against the advantage."""
    log_probs = torch.tensor([[1.5, 1.5, 0.5, 0.5]]).log().requires_grad_()
    gain, mask = torch.tensor([[1.0, -1.0, 1.0, -1.0]]), torch.ones(1, 4) > 0
    loss = ppo.policy_loss(log_probs, torch.zeros(1, 4), gain, mask, clip=0.2)
    close(loss, torch.tensor(-(1.2 - 1.5 + 0.5 - 0.8) / 4), "the loss")
    gradient = torch.autograd.grad(loss, log_probs)[0]
    close(gradient, torch.tensor([[0, 1.5, -0.5, 0]]) / 4, "the gradient")


def test_the_value_loss_takes_the_worse_of_two():
    values, old, returns = torch.tensor([[1.0, 0.1]]), torch.zeros(1, 2), torch.tensor([[2.0, 1.0]])
    found = ppo.value_loss(values, old, returns, torch.ones(1, 2) > 0, clip=0.2)
    close(found, torch.tensor(0.5 * (1.8**2 + 0.9**2) / 2), "the loss")


def test_group_advantages_by_hand():
    """1, 2, 3: mean 2, standard deviation 1. Where all are alike nothing is learned."""
    found = grpo.group_advantages(torch.tensor([1.0, 2.0, 3.0, 5.0, 5.0, 5.0]), 3)
    close(found, torch.tensor([-1, 0, 1, 0, 0, 0]) / 1.0001, "the advantages")
    line = "scores in groups of {}: a group has two answers or more, all the same."
    assert refused(grpo.group_advantages, torch.zeros(6), 4) == f"6 {line.format(4)}"
    assert refused(grpo.group_advantages, torch.zeros(6), 1) == f"6 {line.format(1)}"


def test_the_price_has_the_gradient_of_the_divergence(rng):
    """Over all tokens, each as often as it is drawn: unbiased that of KL(policy ‖ reference), else the other's."""
    logits = torch.randn(7, generator=rng, dtype=torch.float64).requires_grad_()
    reference = torch.randn(7, generator=rng, dtype=torch.float64).log_softmax(0)
    policy = logits.log_softmax(0)
    share = policy.detach().exp()
    divergences = {True: (policy.exp() * (policy - reference)).sum(), False: -(reference.exp() * policy).sum()}
    for unbiased, divergence in divergences.items():
        each = [
            grpo.grpo_loss(policy[None, [i]], policy[None, [i]].detach(), reference[None, [i]],
                           torch.zeros(1), torch.ones(1, 1) > 0, beta=1.0, unbiased=unbiased)
            for i in range(7)
        ]  # fmt: skip
        found = torch.autograd.grad((share * torch.stack(each)).sum(), logits, retain_graph=True)[0]
        expected = torch.autograd.grad(divergence, logits, retain_graph=True)[0]
        close(found, expected, f"the gradient, unbiased={unbiased},", 1e-9)


# ---------------------------------------------------------------- a bandit


SCORES = torch.tensor([1.0, 0.5, 0.0, -1.0])


class Bandit(nn.Module):
    """A policy of four arms: prompt, and one token for an answer. It begins as the reference, which likes arm 3."""

    def __init__(self):
        super().__init__()
        self.logits, self.expected = nn.Parameter(torch.tensor([0.0, 0.0, 0.0, 1.0])), nn.Parameter(torch.zeros(1))

    def forward(self, ids, attention):
        return self.logits.expand(*ids.shape, 4), self.expected.expand(ids.shape)

    def play(self, count, draw):
        arms = torch.multinomial(self.logits.detach().softmax(0), count, replacement=True, generator=draw)
        ids = torch.stack([torch.zeros_like(arms), arms], dim=1)
        return Written(ids, torch.ones_like(ids), torch.tensor([[False, True]]).expand(count, 2))


class Plays(nn.Module):
    """The bandit as a language model of transformers is called."""

    def __init__(self, bandit):
        super().__init__()
        self.bandit = bandit

    def forward(self, input_ids, attention_mask, use_cache):
        return SimpleNamespace(logits=self.bandit(input_ids, attention_mask)[0])


def test_ppo_finds_the_best_policy_of_a_bandit(rng):
    """It is known: p in proportion to p_ref exp(score / beta), for that maximises E[score] - beta KL(p ‖ p_ref)."""
    beta, bandit = 0.5, Bandit()
    reference = bandit.logits.detach().log_softmax(0)
    best = (reference + SCORES / beta).softmax(0)
    optimizer, cfg = torch.optim.Adam(bandit.parameters(), 0.03), PPOConfig(minibatch=512, beta=beta)

    def objective(p):
        return float((p * (SCORES - beta * (p.log() - reference))).sum())

    first, tail = bandit.logits.detach().softmax(0), []
    for step in range(160):
        for group in optimizer.param_groups:
            group["lr"] = 0.03 * (1 - step / 160)
        written = bandit.play(512, rng)
        arms = written.ids[:, 1]
        rollout = ppo.judge(bandit, reference[arms][:, None], written, SCORES[arms], beta)
        ppo.update(bandit, optimizer, rollout, cfg, rng)
        tail.append(bandit.logits.detach().softmax(0))
    found = torch.stack(tail[-20:]).mean(0)
    assert (first - best).abs().sum() > 0.8
    assert (found - best).abs().max() < 0.03, f"{found.tolist()}, should be {best.tolist()}"
    assert objective(best) - objective(found) < 0.01 < objective(best) - objective(first)
    assert abs(bandit.expected.item() - objective(best)) < 0.1, "the value head expects another return than there is"


def test_grpo_finds_the_best_arm_and_the_price_holds_it_back(rng):
    shares = {}
    for beta in (0.0, 1.0):
        bandit = Bandit()
        reference = bandit.logits.detach().log_softmax(0)
        optimizer = torch.optim.Adam(bandit.parameters(), 0.05)
        for _ in range(100):
            written = bandit.play(128, rng)
            arms = written.ids[:, 1]
            scores = SCORES[arms]
            grpo.update(Plays(bandit), optimizer, written, reference[arms][:, None], scores, grpo.GRPOConfig(beta=beta))
        shares[beta] = bandit.logits.detach().softmax(0)
    assert shares[0.0][0] > 0.95
    assert 0.4 < shares[1.0][0] < 0.9 and shares[1.0][1] > shares[0.0][1]


def test_a_rollout_knows_what_the_policy_said(rng):
    bandit = Bandit()
    written = bandit.play(6, rng)
    rollout = ppo.judge(bandit, torch.full((6, 1), -2.0), written, torch.ones(6), 0.1)
    expected = token_log_probs(bandit(written.ids, None)[0], written.ids)
    close(rollout.log_probs, expected, "the log-probabilities")
    close(rollout.kl, expected + 2, "log p / p_ref")
    close(rollout.rewards, 1 - 0.1 * (expected + 2), "the rewards")
    assert not rollout.log_probs.requires_grad


def test_rows_are_padded_behind():
    written = ppo.in_rows([([5, 6], [7]), ([5], [8, 9, 1])], pad=0)
    assert written.ids.tolist() == [[5, 6, 7, 0], [5, 8, 9, 1]]
    assert written.attention.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert written.answer.int().tolist() == [[0, 0, 1, 0], [0, 1, 1, 1]]
