"""GRPO: PPO without a value head. What to expect of an answer is the mean of several answers to the same prompt.

References
    Z. Shao et al., "DeepSeekMath", arXiv:2402.03300: equation 3, the objective; 4, the price; section 4.1.2, the
        advantages
    J. Schulman, "Approximating KL divergence", joschu.net/blog/kl-approx.html: k3
    DeepSeek-AI, "DeepSeek-V3.2", arXiv:2512.02556: the price times the ratio
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from shared.config import Count, NonNegative, Positive
from shared.errors import CourseError
from week10_dpo.losses import kl_estimate, token_log_probs
from week10_dpo.ppo import Mask, Tokens, Written


@dataclass(frozen=True)
class GRPOConfig:
    """The flags of GRPO."""

    group: Count = 8  # answers to each prompt
    beta: NonNegative = 0.04  # the price of leaving the reference
    clip: Positive = 0.2  # as PPO's
    epochs: Count = 1  # how often a rollout is learned from
    max_norm: Positive = 1.0  # of the gradient


def group_advantages(scores: Float[Tensor, " batch"], group: int) -> Float[Tensor, " batch"]:
    """How much better each answer is than the others to its prompt: (score - mean) / (standard deviation + 1e-4).

    Args:
        scores: those of the first prompt's `group` answers, then those of the second's, …
        group: answers to each prompt. Where all are alike there is nothing to be learned: 0.

    Raises:
        CourseError: a group of one, or answers left over.
    """
    if group < 2 or len(scores) % group:
        raise CourseError(f"{len(scores)} scores in groups of {group}: a group has two answers or more, all the same.")
    groups = scores.view(-1, group)  # (prompts, group)
    spread = groups.std(dim=1, keepdim=True)
    return ((groups - groups.mean(dim=1, keepdim=True)) / (spread + 1e-4)).flatten()


def grpo_loss(
    log_probs: Tokens, old: Tokens, reference: Tokens, advantage: Float[Tensor, " batch"], mask: Mask,
    clip: float = 0.2, beta: float = 0.04, unbiased: bool = True,
) -> Tensor:  # fmt: skip
    """PPO's clipped objective with one advantage for all tokens of an answer, and the price inside the loss.

    The mean goes over the tokens of each answer, then over the answers (equation 3), so a token of a long answer counts
    less; Dr. GRPO (arXiv:2503.20783) and DAPO (arXiv:2503.14476) do it otherwise.

    Args:
        log_probs: of each token under the policy.
        old: under the policy that wrote it.
        reference: under the reference.
        advantage: from group_advantages.
        mask: the tokens of the answers.
        clip, beta: as in GRPOConfig.
        unbiased: multiply the price by the ratio, as DeepSeek-V3.2 and trl do. The ratio is 1 where the policy is the
            one that wrote, but its gradient is not 0: with it, on the average, the gradient is that of KL(policy ‖
            reference); without it, as in the first paper, that of KL(reference ‖ policy).
    """
    ratio = (log_probs - old).exp()
    gain = advantage[:, None]
    loss = -torch.minimum(ratio * gain, ratio.clamp(1 - clip, 1 + clip) * gain)
    price = kl_estimate(log_probs, reference)
    loss = loss + beta * (price * ratio if unbiased else price)
    return ((loss * mask).sum(dim=1) / mask.sum(dim=1)).mean()


def update(
    policy: nn.Module, optimizer: torch.optim.Optimizer, written: Written, reference: Tokens,
    scores: Float[Tensor, " batch"], cfg: GRPOConfig,
) -> dict[str, float]:  # fmt: skip
    """Learns from answers in groups, all of them in each step.

    Args:
        policy: a causal language model: input_ids, attention_mask -> logits.
        optimizer: of its weights.
        written: the answers, group by group.
        reference: the log-probability of each token under the reference.
        scores: one for each answer.
        cfg: the flags.

    Returns {loss, kl (nats an answer, by k3), flat (the share of groups whose answers all scored the same)}.
    """
    advantage, old = group_advantages(scores, cfg.group), None
    for _ in range(cfg.epochs):
        logits = policy(input_ids=written.ids, attention_mask=written.attention, use_cache=False).logits
        log_probs = token_log_probs(logits, written.ids)
        old = log_probs.detach() if old is None else old
        loss = grpo_loss(log_probs, old, reference, advantage, written.mask, cfg.clip, cfg.beta)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(policy.parameters(), cfg.max_norm)
        optimizer.step()
    kl = (kl_estimate(log_probs.detach(), reference) * written.mask).sum(dim=1).mean()
    flat = (scores.view(-1, cfg.group).std(dim=1) < 1e-6).float().mean()
    return {"loss": loss.item(), "kl": kl.item(), "flat": flat.item()}
