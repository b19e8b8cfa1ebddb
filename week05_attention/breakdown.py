"""Where a translator is good and where not: by the length of a sentence, by the width of the beam, and in maps."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from shared import sentence_pairs, translation_scores
from week05_attention import drawing, train
from week05_attention.train import NO_ATTENTION
from week05_attention.trained import Trained

LENGTHS = ((1, 3), (4, 5), (6, 7), (8, 8), (9, 10), (11, 12), (13, 20), (21, 50))
LONG = 8  # words: above, what attention is for should be seen
MAPS = 10


def texts(model: Any, sources: Sequence[str], net: Trained, beam: int) -> list[str]:
    """The translations of some sentences."""
    found = train.translate_all(model, list(sources), *net.words, beam=beam)
    return [sentence_pairs.detokenize(words) for words, _, _ in found]


def print_lengths(part: sentence_pairs.Part, answers: dict[str, list[str]]) -> dict[str, list[Any]]:
    """BLEU by the length of the source, of the two networks; and of all sentences of more than eight words."""
    tables = {}
    for name in [name for name in ("this network", NO_ATTENTION) if name in answers]:
        tables[name] = translation_scores.by_length(part.sources, answers[name], part.references, LENGTHS)
    first = next(iter(tables.values()))
    heads = [f"{low} to {high}" if low < high else str(low) for (low, high), _, _ in first]
    print(f"\n{'words, with signs':28s}" + "".join(f"{head:>10s}" for head in heads))
    print(f"{'sentences':28s}" + "".join(f"{count:10,}" for _, count, _ in first))
    for name, table in tables.items():
        print(f"{name:28s}" + "".join(f"{score:10.1f}" for *_, score in table))
    counted = [sentence_pairs.count_words(text) for text in part.sources]
    if long := [row for row, words in enumerate(counted) if words > LONG]:
        references = [part.references[row] for row in long]
        told = [
            f"{name} {translation_scores.bleu([answers[name][row] for row in long], references):.1f}" for name in tables
        ]
        print(f"of the {len(long):,} sentences of more than {LONG} words, signs not counted: {', '.join(told)}")
    return tables


def print_beams(model: Any, part: sentence_pairs.Part, net: Trained, beams: Sequence[int]) -> None:
    """BLEU and seconds for each beam."""
    print(f"\n{'beam':>6s}{'BLEU':>8s}{'seconds':>10s}")
    for beam in beams:
        start = time.perf_counter()
        score = translation_scores.bleu(texts(model, part.sources, net, beam), part.references)
        print(f"{beam:6d}{score:8.1f}{time.perf_counter() - start:10.1f}")


def chosen_maps(model: Any, part: sentence_pairs.Part, net: Trained, beam: int) -> list[drawing.Map]:
    """Ten maps by a rule, not by beauty: of the sentences of five to ten words, those at ten even steps of the list."""
    fit = [row for row, text in enumerate(part.sources) if 5 <= sentence_pairs.count_words(text) <= 10]
    rows = [fit[round(at)] for at in np.linspace(0, len(fit) - 1, min(MAPS, len(fit)))] if fit else []
    sources = [part.sources[row] for row in dict.fromkeys(rows)]
    found = train.translate_all(model, sources, *net.words, beam=beam)
    shown = [
        (sentence_pairs.tokenize(text), words, looked) for text, (words, looked, _) in zip(sources, found, strict=True)
    ]
    return [one for one in shown if one[1] and one[2].shape[1] > 1]
