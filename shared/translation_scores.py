"""How good translations are: BLEU, chrF and exact matches against all references, without regard to case.

BLEU (Papineni et al. 2002) counts the n-grams of up to four words that a reference has, too, chrF (Popović 2015) those
of up to six letters. Both come from sacreBLEU (Post 2018), whose signature says what exactly was computed.
"""

from collections.abc import Callable, Sequence
from typing import Any

from shared.sentence_pairs import tokenize


def scores(found: Sequence[str], references: Sequence[tuple[str, ...]]) -> dict[str, float]:
    """{bleu, chrf: 0 to 100; exact: the share that is one of its references, word by word}."""
    columns = by_column(references)
    exact = sum(is_exact(text, texts) for text, texts in zip(found, references, strict=True)) / max(1, len(found))
    return {"bleu": score(bleu_metric(), found, columns), "chrf": score(chrf_metric(), found, columns), "exact": exact}


def bleu(found: Sequence[str], references: Sequence[tuple[str, ...]]) -> float:
    """Corpus BLEU alone."""
    return score(bleu_metric(), found, by_column(references))


def score(metric: Any, found: Sequence[str], columns: list[list[str | None]]) -> float:
    """From 0 to 100; a perfect one comes out a few billionths above."""
    return min(100.0, metric.corpus_score(found, columns).score)


def by_column(references: Sequence[tuple[str, ...]]) -> list[list[str | None]]:
    """The first reference of each sentence, the second, …; None where there is none."""
    most = max(map(len, references))
    return [[texts[at] if at < len(texts) else None for texts in references] for at in range(most)]


def is_exact(text: str, references: Sequence[str]) -> bool:
    """Whether a translation is, word by word, one of its references."""
    return tokenize(text) in [tokenize(reference) for reference in references]


def bleu_metric():
    from sacrebleu.metrics import BLEU

    return BLEU(lowercase=True)


def chrf_metric():
    from sacrebleu.metrics import CHRF

    return CHRF(lowercase=True)


def signature(references: Sequence[tuple[str, ...]]) -> str:
    """What exactly sacreBLEU computes, as one quotes it beside a score."""
    metric = bleu_metric()
    metric.corpus_score([texts[0] for texts in references], by_column(references))
    return str(metric.get_signature())


def by_length(
    sources: Sequence[str],
    found: Sequence[str],
    references: Sequence[tuple[str, ...]],
    bounds: Sequence[tuple[int, int]],
    metric: Callable[..., float] = bleu,
) -> list[tuple[tuple[int, int], int, float]]:
    """((fewest, most) words of the source, how many sentences, their score) for each range that has some."""
    lengths = [len(tokenize(source)) for source in sources]
    table = []
    for low, high in bounds:
        rows = [row for row, length in enumerate(lengths) if low <= length <= high]
        if rows:
            table.append(
                ((low, high), len(rows), metric([found[row] for row in rows], [references[row] for row in rows]))
            )
    return table
