"""RLHF as it was done first: proximal policy optimisation (PPO) against a reward model, in small, readable steps.

    written = write(policy, prompts, …)              # the policy answers
    rollout = judge(actor, reference, written, scores)   # what it, its value head and the reference say of each token
    stats = update(actor, optimizer, rollout, cfg)   # some steps that make what was better than expected likelier

Each token is an action. The reward model's score comes at the last one; every one costs beta times how much likelier
the policy finds it than the reference does. With that price the best policy is known: p(answer) is in proportion to
p_ref(answer) exp(score / beta), the very formula that DPO starts from (arXiv:2305.18290, equation 4).

References
    J. Schulman et al., "Proximal policy optimization algorithms", arXiv:1707.06347: equation 7, the clipped objective
    J. Schulman et al., "High-dimensional continuous control using generalized advantage estimation", arXiv:1506.02438:
        equation 16
    D. M. Ziegler et al., "Fine-tuning language models from human preferences", arXiv:1909.08593: the price per token
    L. Ouyang et al., "Training language models to follow instructions with human feedback", arXiv:2203.02155
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.config import Count, NonNegative, Positive
from week10_dpo.losses import token_log_probs

Tokens = Float[Tensor, "batch next"]  # a number for each token but the first of a row
Mask = Bool[Tensor, "batch next"]  # True at the tokens of the answer


@dataclass(frozen=True)
class PPOConfig:
    """The flags of PPO. The defaults are those of Ziegler et al., as far as a small model lets them be."""

    beta: Positive = 0.1  # the price of being likelier than the reference
    clip: Positive = 0.2  # a step may change the probability of a token by this share, more is not rewarded
    gamma: Positive = 1.0  # an answer is short: no discount
    lam: NonNegative = 0.95  # of the advantages: 1 trusts what came out, 0 the value head
    epochs: Count = 2  # how often a rollout is learned from
    minibatch: Count = 16  # answers of a step
    value_weight: Positive = 0.5  # of the value head's loss
    max_norm: Positive = 1.0  # of the gradient


# ---------------------------------------------------------------- answers


@dataclass(frozen=True)
class Written:
    """Answers that a model has written, one row each: prompt, answer, padding.

    Attributes:
        ids: (batch, time).
        attention: 1 at what is read, 0 at the padding.
        answer: True at the tokens that the model wrote, its end token included.
    """

    ids: Int[Tensor, "batch time"]
    attention: Int[Tensor, "batch time"]
    answer: Bool[Tensor, "batch time"]

    @property
    def mask(self) -> Mask:
        return self.answer[:, 1:]


@torch.no_grad()
def write(
    model: Any, prompts: Sequence[Sequence[int]], tokens: int, end: int, pad: int, temperature: float = 1.0
) -> Written:  # fmt: skip
    """Lets a causal language model of transformers answer, each token drawn from its whole distribution.

    No top-k, no top-p: what is learned from must be drawn from the policy itself, or its probabilities are not those
    of what was written.

    Args:
        model: with `generate`.
        prompts: the ids of each.
        tokens: how long an answer may be.
        end: the token that ends it.
        pad: what stands in front of short prompts and behind short answers; never read.
        temperature: 1 is the policy.
    """
    device, longest = next(model.parameters()).device, max(map(len, prompts))
    padded = torch.tensor([[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    seen = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    training = model.training
    found = model.eval().generate(
        input_ids=padded, attention_mask=seen, max_new_tokens=tokens, do_sample=True, temperature=temperature,
        top_k=0, top_p=1.0, eos_token_id=end, pad_token_id=pad,
    )[:, longest:]  # fmt: skip
    model.train(training)
    rows = []
    for prompt, answer in zip(prompts, found.tolist(), strict=True):
        length = answer.index(end) + 1 if end in answer else len(answer)
        rows.append((list(prompt), answer[:length]))
    return in_rows(rows, pad, device)


def in_rows(pairs: Sequence[tuple[list[int], list[int]]], pad: int, device: Any = "cpu") -> Written:
    """Rows of (prompt, answer), padded on the right."""
    width = max(len(prompt) + len(answer) for prompt, answer in pairs)
    ids = torch.full((len(pairs), width), pad)
    attention, answers = torch.zeros_like(ids), torch.zeros_like(ids, dtype=torch.bool)
    for row, (prompt, answer) in enumerate(pairs):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor(prompt + answer)
        attention[row, :end] = 1
        answers[row, len(prompt) : end] = True
    return Written(ids.to(device), attention.to(device), answers.to(device))


class ActorCritic(nn.Module):
    """A policy, and a value head on it that guesses what an answer will bring in the end, from each place of it."""

    def __init__(self, policy: Any) -> None:
        super().__init__()
        self.policy = policy
        self.value = nn.Linear(policy.config.hidden_size, 1)
        nn.init.zeros_(self.value.weight)  # it expects nothing at first
        nn.init.zeros_(self.value.bias)

    def forward(
        self, ids: Int[Tensor, "batch time"], attention: Int[Tensor, "batch time"]
    ) -> tuple[Float[Tensor, "batch time vocab"], Float[Tensor, "batch time"]]:
        """Logits, and at each place the value of what stands there so far."""
        out = self.policy(input_ids=ids, attention_mask=attention, output_hidden_states=True, use_cache=False)
        return out.logits, self.value(out.hidden_states[-1].float()).squeeze(-1)


# ---------------------------------------------------------------- what a token was worth


@dataclass(frozen=True)
class Rollout:
    """Answers with all that PPO has to know of them; numbers per token are 0 outside the answers.

    Attributes:
        written: the answers.
        log_probs: of each token, under the policy that wrote it.
        values: what the value head expected before each token.
        rewards: what each token brought: its price, and at the last one the score.
        kl: log p / p_ref of each token: what the price is made of.
    """

    written: Written
    log_probs: Tokens
    values: Tokens
    rewards: Tokens
    kl: Tokens


def token_rewards(scores: Float[Tensor, " batch"], kl: Tokens, mask: Mask, beta: float) -> Tokens:
    """-beta log p / p_ref at each token of the answer, and at its last one the score, too (Ziegler, equation 2)."""
    places = torch.arange(mask.shape[1], device=mask.device)
    last = (mask * places).argmax(dim=1, keepdim=True)  # (batch, 1)
    return (-beta * kl * mask).scatter_add(1, last, scores[:, None].to(kl.dtype))


def advantages(
    rewards: Tokens, values: Tokens, mask: Mask, gamma: float = 1.0, lam: float = 0.95
) -> tuple[Tokens, Tokens]:  # fmt: skip
    """Generalised advantage estimation, from the last token to the first.

        delta_t = r_t + gamma V_{t+1} - V_t        A_t = delta_t + gamma lam A_{t+1}

    Args:
        rewards, values: per token; V_t is what was expected before token t. Behind the answer there is nothing.
        mask: the tokens of the answer, which stand together.
        gamma: discount.
        lam: 0 looks one token ahead, 1 to the end.

    Returns:
        A, how much better than expected each token was, and the returns A + V, which the value head is to learn.
    """
    values = values * mask
    found, ahead, next_value = torch.zeros_like(rewards), torch.zeros_like(rewards[:, 0]), 0.0
    for t in reversed(range(rewards.shape[1])):
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        ahead = (delta + gamma * lam * ahead) * mask[:, t]
        found[:, t], next_value = ahead, values[:, t]
    return found, found + values


def whitened(x: Tokens, mask: Mask) -> Tokens:
    """With mean 0 and variance 1 over the tokens of all answers: the step does not depend on the scale of scores."""
    picked = x[mask]
    return (x - picked.mean()) / (picked.std(correction=0) + 1e-8) * mask


@torch.no_grad()
def judge(
    actor: nn.Module, reference_log_probs: Tokens, written: Written, scores: Float[Tensor, " batch"], beta: float
) -> Rollout:
    """What the actor says of the answers that it has written, and what each token brought.

    Args:
        actor: ids, attention -> logits, values.
        reference_log_probs: of each token under the reference.
        written: the answers.
        scores: the reward model's, one for each answer.
        beta: the price of being likelier than the reference.
    """
    logits, values = actor(written.ids, written.attention)
    log_probs = token_log_probs(logits, written.ids)
    kl = (log_probs - reference_log_probs) * written.mask
    rewards = token_rewards(scores, kl, written.mask, beta)
    return Rollout(written, log_probs, values[:, :-1] * written.mask, rewards, kl)


# ---------------------------------------------------------------- learning from it


def masked_mean(x: Tensor, mask: Tensor) -> Tensor:
    return (x * mask).sum() / mask.sum()


def policy_loss(log_probs: Tokens, old: Tokens, advantage: Tokens, mask: Mask, clip: float = 0.2) -> Tensor:
    """PPO's clipped objective (equation 7), with the sign of a loss, as a mean over the tokens of all answers.

        ratio = p / p_old            -min(ratio A, clip(ratio, 1 - clip, 1 + clip) A)

    Once the ratio has left the interval in the direction that A asks for, the gradient is zero: the old answers say
    nothing of a policy that is far from the one that wrote them.
    """
    ratio = (log_probs - old).exp()
    worse = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    return masked_mean(-worse, mask)


def value_loss(values: Tokens, old: Tokens, returns: Tokens, mask: Mask, clip: float = 0.2) -> Tensor:
    """Half the squared error of the value head; as the policy, it gains nothing by moving more than `clip` at once."""
    near = old + (values - old).clamp(-clip, clip)
    return 0.5 * masked_mean(torch.maximum((values - returns) ** 2, (near - returns) ** 2), mask)


def update(
    actor: nn.Module, optimizer: torch.optim.Optimizer, rollout: Rollout, cfg: PPOConfig, draw: torch.Generator
) -> dict[str, float]:
    """Learns from a rollout: `epochs` times through it, a step for each `minibatch` of its answers.

    Returns {policy_loss, value_loss, kl (nats an answer), clipped (share of the tokens)}.
    """
    written = rollout.written
    advantage, returns = advantages(rollout.rewards, rollout.values, written.mask, cfg.gamma, cfg.lam)
    advantage = whitened(advantage, written.mask)
    stats: dict[str, list[float]] = {"policy_loss": [], "value_loss": [], "clipped": []}
    for _ in range(cfg.epochs):
        for rows in torch.randperm(len(written.ids), generator=draw).split(cfg.minibatch):
            mask, old = written.mask[rows], rollout.log_probs[rows]
            logits, values = actor(written.ids[rows], written.attention[rows])
            log_probs = token_log_probs(logits, written.ids[rows])
            for_policy = policy_loss(log_probs, old, advantage[rows], mask, cfg.clip)
            for_value = value_loss(values[:, :-1], rollout.values[rows], returns[rows], mask, cfg.clip)
            optimizer.zero_grad()
            (for_policy + cfg.value_weight * for_value).backward()
            nn.utils.clip_grad_norm_(actor.parameters(), cfg.max_norm)
            optimizer.step()
            outside = ((log_probs - old).exp() - 1).abs() > cfg.clip
            clipped = masked_mean(outside.float(), mask)
            for name, value in zip(stats, (for_policy, for_value, clipped), strict=True):
                stats[name].append(value.item())
    found = {name: sum(values) / len(values) for name, values in stats.items()}
    return found | {"kl": rollout.kl.sum(dim=1).mean().item()}
