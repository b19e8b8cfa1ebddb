"""What preferences teach, as formulas: log-probabilities of answers, rewards, and the losses that are made of them.

A pair is a prompt with two answers, of which somebody preferred one: the chosen and the rejected. A batch of n pairs
goes through the network as 2 n rows, first all chosen, then all rejected.

References
    R. Rafailov et al., "Direct preference optimization", arXiv:2305.18290: equation 7, the loss; 5, the reward
    E. Mitchell, "A note on DPO with noisy preferences and relationship to IPO", 2023: conservative DPO
    M. G. Azar et al., "A general theoretical paradigm to understand learning from human preferences",
        arXiv:2310.12036: equation 17, IPO
    N. Lambert et al., "Tülu 3", arXiv:2411.15124: length-normalised DPO
    R. Bradley and M. Terry, "Rank analysis of incomplete block designs", Biometrika 39, 1952
    L. Ouyang et al., "Training language models to follow instructions with human feedback", arXiv:2203.02155:
        equation 1, the loss of a reward model
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from shared.errors import CourseError

Loss = Literal["dpo", "ipo", "cdpo", "dpo_norm"]
LOSSES: tuple[str, ...] = get_args(Loss)
PerPair = Float[Tensor, " pairs"]
PerRow = Float[Tensor, " batch"]
Ids = Int[Tensor, "batch time"]
Answer = Bool[Tensor, "batch time"]  # True at the tokens of the answer, its end token included
Logits = Float[Tensor, "batch time vocab"]


# ---------------------------------------------------------------- how likely an answer is


def token_log_probs(logits: Logits, ids: Ids) -> Float[Tensor, "batch next"]:
    """log p of each token but the first, given those before it: (batch, time - 1)."""
    # exercise 1: sequence log-probabilities, each token
    # logits (batch, time, vocab), ids (batch, time) -> (batch, time - 1), the natural logarithm of how likely each
    # token but the first is, given those before it. The logits at place t are about the token at place t + 1.
    # hint: log_softmax over the vocabulary makes log-probabilities of logits. The last place speaks of a token that is
    # not here, and nobody speaks of the first token: leave both out. Then gather picks, place by place, what came.
    log_probs = logits[:, :-1].log_softmax(dim=-1)  # (batch, time - 1, vocab)
    return log_probs.gather(2, ids[:, 1:, None]).squeeze(2)
    # end of exercise 1


def sequence_log_probs(logits: Logits, ids: Ids, answer: Answer) -> PerRow:
    """log p(answer | prompt) of each row: the sum over the tokens of its answer. The prompt and padding do not count.

    Args:
        logits: what the model says at each place about the token behind it.
        ids: prompt, answer and padding.
        answer: which of them are the answer.
    """
    # exercise 1: sequence log-probabilities, the answer
    # logits (batch, time, vocab), ids (batch, time), answer (batch, time), True at the tokens of the answer ->
    # (batch,), the natural logarithm of how likely each row's answer is, given what stands before it. What stands in
    # the prompt or in the padding changes nothing.
    # hint: the first token has no log-probability, so the mask loses its first place, too. Probabilities of tokens are
    # multiplied, so their logarithms are added: a sum over each row, no mean.
    taken = token_log_probs(logits, ids)  # (batch, time - 1)
    return (taken * answer[:, 1:]).sum(dim=1)
    # end of exercise 1


@dataclass(frozen=True)
class LogProbs:
    """How likely a model finds the two answers of each pair.

    Attributes:
        chosen: log p of the preferred answers.
        rejected: log p of the others.
        chosen_tokens: how many tokens those have; only the normalised losses ask.
        rejected_tokens: likewise.
    """

    chosen: PerPair
    rejected: PerPair
    chosen_tokens: Tensor
    rejected_tokens: Tensor

    @classmethod
    def halves(cls, sums: PerRow, tokens: Tensor) -> "LogProbs":
        """Of a batch of rows: first all chosen, then all rejected."""
        return cls(*sums.chunk(2), *tokens.chunk(2))


# ---------------------------------------------------------------- direct preference optimisation


def dpo_loss(
    chosen: PerPair, rejected: PerPair, reference_chosen: PerPair, reference_rejected: PerPair, beta: float = 0.1
) -> PerPair:  # fmt: skip
    """DPO's loss of each pair (equation 7); ln 2 while the policy is the reference.

        -log sigmoid(beta (log p(chosen) / p_ref(chosen) - log p(rejected) / p_ref(rejected)))

    Args:
        chosen, rejected: log-probabilities under the policy, which learns.
        reference_chosen, reference_rejected: the same under the reference, which does not.
        beta: how strongly the policy is held to the reference; small is loosely.
    """
    # exercise 2: the DPO loss
    # Four times (pairs,): log-probabilities of the chosen and the rejected answers under the policy and under the
    # reference, and beta -> (pairs,), the loss of each pair. Small where the policy, compared with the reference, has
    # moved towards the chosen answer and away from the rejected one. Exact for any numbers, of 1e4 too.
    # hint: how much likelier than under the reference has each answer become, as a difference of logarithms? The loss
    # is -log sigmoid of beta times the one less the other; F.logsigmoid is right where log(sigmoid(x)) is -inf.
    difference = (chosen - reference_chosen) - (rejected - reference_rejected)
    return -F.logsigmoid(beta * difference)
    # end of exercise 2


def preference_loss(
    policy: LogProbs, reference: LogProbs, loss: Loss = "dpo", beta: float = 0.1, label_smoothing: float = 0.0
) -> PerPair:  # fmt: skip
    """The loss of each pair, by one of these formulas; r is log p / p_ref of an answer, and n its tokens.

        dpo         -log sigmoid(beta (r_chosen - r_rejected))
        cdpo        the same, for labels that are wrong with probability eps (label_smoothing):
                    -(1 - eps) log sigmoid(beta d) - eps log sigmoid(-beta d), d the difference above
        ipo         (r_chosen / n_chosen - r_rejected / n_rejected - 1 / (2 beta))^2: a mean over tokens. The paper's
                    formula has the sums, and a margin that depends on lengths; its authors use the mean, and trl, too
        dpo_norm    dpo with r / n, Tülu 3's: a long answer counts no more than a short one. It wants a larger beta (5)

    Args:
        policy: under the model that learns.
        reference: under the model that it began as.
        loss: which formula.
        beta: how strongly the policy is held to the reference.
        label_smoothing: eps of cdpo, below 0.5.

    Raises:
        CourseError: an eps with a loss that has none.
    """
    if label_smoothing and loss != "cdpo":
        raise CourseError(f"--label-smoothing {label_smoothing:g}: only --loss cdpo has it, not {loss}.")
    chosen, rejected = policy.chosen - reference.chosen, policy.rejected - reference.rejected
    per_token = chosen / policy.chosen_tokens - rejected / policy.rejected_tokens
    match loss:
        case "dpo":
            return dpo_loss(policy.chosen, policy.rejected, reference.chosen, reference.rejected, beta)
        case "cdpo":
            scaled = beta * (chosen - rejected)
            return -(1 - label_smoothing) * F.logsigmoid(scaled) - label_smoothing * F.logsigmoid(-scaled)
        case "ipo":
            return (per_token - 1 / (2 * beta)) ** 2
        case "dpo_norm":
            return -F.logsigmoid(beta * per_token)


# ---------------------------------------------------------------- what is watched


def rewards(policy: LogProbs, reference: LogProbs, beta: float = 0.1) -> tuple[PerPair, PerPair]:
    """The implicit rewards of both answers: beta log p / p_ref (equation 5, less what depends on the prompt alone)."""
    # exercise 3: rewards and margins, the rewards
    # What policy and reference say of the pairs (LogProbs: .chosen and .rejected, (pairs,) each), and beta -> the
    # rewards of the chosen and of the rejected answers, (pairs,) each: 0 at the start, above it where the policy finds
    # an answer likelier than the reference does. They are for looking at: no gradient goes through them.
    # hint: beta times how many nats likelier the policy finds an answer than the reference does. .detach() ends the
    # gradient.
    chosen = beta * (policy.chosen - reference.chosen)
    rejected = beta * (policy.rejected - reference.rejected)
    return chosen.detach(), rejected.detach()
    # end of exercise 3


def margins(chosen_rewards: PerPair, rejected_rewards: PerPair) -> PerPair:
    """By how much the chosen answer is ahead."""
    # exercise 3: rewards and margins, the margin
    # The rewards of the chosen and of the rejected answers, (pairs,) each -> (pairs,), by how much the chosen is ahead.
    # hint: which one is taken from which? The margin grows while it learns.
    return chosen_rewards - rejected_rewards
    # end of exercise 3


def accuracy(chosen_rewards: PerPair, rejected_rewards: PerPair) -> float:
    """The share of the pairs in which the chosen answer has more: 0 at the start, when both have 0, as in trl."""
    # exercise 3: rewards and margins, the accuracy
    # The same two -> a float, the share of pairs whose chosen answer has the larger reward. A draw is not right.
    # hint: True counts 1, so the share is a mean; a tensor of bools needs .float() first, and .item() afterwards.
    return (chosen_rewards > rejected_rewards).float().mean().item()
    # end of exercise 3


# ---------------------------------------------------------------- a reward model


def bradley_terry_loss(chosen: PerPair, rejected: PerPair, margin: float | PerPair = 0.0) -> PerPair:
    """What a reward model's scores cost: -log of the probability that the chosen answer wins.

        p(chosen wins) = e^chosen / (e^chosen + e^rejected) = sigmoid(chosen - rejected)

    Args:
        chosen, rejected: the scores of the two answers.
        margin: by how much the chosen one should be ahead (Llama 2, arXiv:2307.09288, equation 2).
    """
    # exercise 4: the Bradley-Terry loss
    # The scores of the chosen and of the rejected answers, (pairs,) each, and the margin, a number or (pairs,) ->
    # (pairs,), the loss of each pair: -log sigmoid of how far the chosen score is ahead of the rejected one and the
    # margin. Exact for any scores, of 1e4 too.
    # hint: into the sigmoid goes the lead, of which the margin is taken away. log(sigmoid(-1000)) would be -inf; one
    # function of torch does both at once.
    return -F.logsigmoid(chosen - rejected - margin)
    # end of exercise 4


def kl_estimate(log_probs: Tensor, reference: Tensor) -> Tensor:
    """Schulman's k3 estimate, token by token, of KL(policy ‖ reference) from tokens that the policy has drawn.

        p_ref / p - 1 - log(p_ref / p)

    Its mean is the divergence, and unlike log p / p_ref it is never negative (joschu.net/blog/kl-approx.html).
    """
    difference = reference - log_probs
    return torch.expm1(difference) - difference
