"""What is measured of an aligned model: preferences with an interval, answers of each stage, how far it has moved."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped

from shared import runs
from shared.conversation import Answer, ids_of, render, write
from shared.device import Device
from shared.splits import Part
from week10_dpo import chats, exact, judge
from week10_dpo.losses import LogProbs, accuracy, kl_estimate, margins, rewards, token_log_probs
from week10_dpo.model import reference
from week10_dpo.train import Known, said
from week10_dpo.trained import STAGES, Trained

RESAMPLED = 2000  # times that the prompts are drawn anew for an interval


def interval(
    values: Shaped[np.ndarray, " pairs"], groups: Sequence[str], seed: int = 0
) -> tuple[float, float, float]:  # fmt: skip
    """(mean, low, high): a mean over pairs and where it lies in 95 of 100 draws of the *prompts*, with replacement.

    Pairs of a prompt are not independent: whoever resamples pairs, or trains other seeds on the same prompts, finds an
    interval that is too narrow (Miller, arXiv:2411.00640, section 2.2).
    """
    names, rows = np.unique(np.asarray(groups), return_inverse=True)
    sums, counts = (np.bincount(rows, weights, len(names)) for weights in (values.astype(float), None))
    draws = np.random.default_rng(seed).integers(0, len(names), (RESAMPLED, len(names)))
    means = sums[draws].sum(axis=1) / counts[draws].sum(axis=1)
    return float(np.mean(values)), *map(float, np.quantile(means, [0.025, 0.975]))


def repetition(ids: Sequence[int], n: int = 4) -> float:
    """The share of an answer's runs of four tokens that were there before: near 0 of good text, near 1 of a loop."""
    runs_of = [tuple(ids[start : start + n]) for start in range(len(ids) - n + 1)]
    return 1 - len(set(runs_of)) / len(runs_of) if runs_of else 0.0


def about(answers: Sequence[Answer]) -> dict[str, float]:
    """Tokens of an answer, share that repeats, share that ended by itself."""
    return {
        "tokens": float(np.mean([len(one.ids) for one in answers])),
        "repeats": float(np.mean([repetition(one.ids) for one in answers])),
        "stops": float(np.mean([one.stopped for one in answers])),
    }


def preference(
    cfg: Any, net: Trained, part: Part, model: Any, copy_of: Any, device: Device
) -> tuple[dict[str, float], dict[str, float], Float[np.ndarray, " pairs"], Part]:
    """(scores, accuracy of the baseline that needs this network, margins, the pairs scored) on a part."""
    encoded = chats.encode(part, net.tokenizer, net.config.max_len, net.config.long)
    runs.tell(encoded.notes)
    with reference(model, copy_of) as asked:
        before = said(asked, encoded, device, label="reference")
    known = Known(encoded, before).take(range(len(encoded)), "cpu")
    policy = LogProbs(*said(model, encoded, device, label="policy"), known.chosen_tokens, known.rejected_tokens)
    chosen, rejected = rewards(policy, known, net.config.beta)
    ahead = margins(chosen, rejected)
    scores = {"test_accuracy": accuracy(chosen, rejected), "test_margin": ahead.mean().item()}
    scores |= {"test_chosen_reward": chosen.mean().item(), "test_rejected_reward": rejected.mean().item()}
    scores["test_likelier_accuracy"] = float((policy.chosen > policy.rejected).float().mean())
    likelier = {judge.LIKELIER: float((before[0] > before[1]).float().mean())}
    return scores, likelier, ahead.numpy(), part.take(np.array(encoded.kept))


@torch.no_grad()
def divergence(model: Any, tokenizer: Any, some: Part, copy_of: Any, cfg: Any) -> dict[str, float]:
    """KL(policy ‖ reference) a token and an answer, estimated from answers that the policy draws (k3)."""
    chat = [pair.messages for pair in some.items]
    answers = write(model, tokenizer, chat, cfg.tokens, temperature=1.0, seed=cfg.seed)
    device, total, count = next(model.parameters()).device, 0.0, 0
    for messages, answer in zip(chat, answers, strict=True):
        prompt = ids_of(tokenizer, render(tokenizer, messages, answer=True))
        ids = torch.tensor([[*prompt, *answer.ids]], device=device)
        ours = token_log_probs(model(input_ids=ids).logits.float(), ids)
        with reference(model, copy_of) as asked:
            theirs = token_log_probs(asked(input_ids=ids).logits.float(), ids)
        total += float(kl_estimate(ours, theirs)[0, len(prompt) - 1 :].sum())
        count += len(answer.ids)
    return {"kl_per_token": total / max(count, 1), "kl_per_answer": total / max(len(answers), 1)}


def written(cfg: Any, net: Trained, some: Part, device: Device) -> dict[str, dict[str, Any]]:
    """What the model answers at each stage: to prompts of test, and to the exact questions."""
    asked = [[{"role": "user", "content": question}] for question, _ in exact.QUESTIONS[: cfg.questions]]
    stages = [stage for stage in STAGES if stage != "sft" or net.config.sft_steps]
    found = {}
    for stage in stages:
        model, chats = net.model(stage, device.name), [p.messages for p in some.items] + asked
        answers = write(model, net.tokenizer, chats, cfg.tokens, label=f"{stage} answers")
        mine, exactly = answers[: len(some)], answers[len(some) :]
        found[stage] = {"answers": mine} | (about(mine) if mine else {})
        if exactly:
            found[stage]["exact"] = float(exact.right([one.text for one in exactly]).mean())
    return found


def judged(found: dict[str, dict[str, Any]], some: Part, own: judge.Judge) -> dict[str, Any]:
    """Adds polite rates; and returns how often each stage's answer is the more polite one than the base's, with an
    interval over prompts. A draw counts half."""
    groups, wins = [pair.prompt for pair in some.items], {}
    scores = {stage: own.score([one.text for one in row["answers"]]) for stage, row in found.items()}
    for stage, row in found.items():
        labels = own.labels([one.text for one in row["answers"]])
        row["polite"] = float((labels == 2).mean())
        row["rude"] = float((labels == 0).mean())
        if stage != "base":
            won = (scores[stage] > scores["base"]) + (scores[stage] == scores["base"]) / 2
            wins[stage] = interval(won, groups)
    return wins


def show(found: dict[str, dict[str, Any]], some: Part, count: int) -> None:
    """Prompts with the answers of all stages."""
    for row, pair in enumerate(some.items[:count]):
        print(f"\n{pair.turns[-1][1]}")
        for stage, about_it in found.items():
            print(f"  {stage:5s} {' '.join(about_it['answers'][row].text.split())}")


COLUMNS = {"polite": "polite", "rude": "rude", "exact": "exact questions", "tokens": "tokens", "repeats": "repeats",
           "stops": "ends by itself"}  # fmt: skip


def table(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    """The stages as rows of words, the head first."""
    there = [name for name in COLUMNS if any(name in row for row in found.values())]
    rows = [["", *(COLUMNS[name] for name in there)]]
    for stage, row in found.items():
        cells = [f"{row[name]:.1f}" if name == "tokens" else f"{row[name]:.1%}" for name in there]
        rows.append([stage, *cells])
    return rows


def by_family(part: Part, ahead: Float[np.ndarray, " pairs"]) -> str:
    """`captain 94%, nurse 98%, …`, the worst first; nothing where no pair has a family."""
    count, right = Counter(pair.family for pair in part.items), Counter()
    for pair, margin in zip(part.items, ahead, strict=True):
        right[pair.family] += bool(margin > 0)
    shares = sorted((right[name] / count[name], name) for name in count if name)
    return ", ".join(f"{name} {share:.0%}" for share, name in shares)
