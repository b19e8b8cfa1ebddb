"""Scores a trained translator on sentences it has not seen: `./course eval 5`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week05_attention/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from shared import cli, held_out, runs, sentence_pairs, translation_scores
from shared.config import Count, EvalConfig
from shared.device import choose
from week05_attention import baselines, drawing, train
from week05_attention.baselines import CONSTANT, DICTIONARY
from week05_attention.train import NO_ATTENTION
from week05_attention.trained import Trained, load

LENGTHS = ((1, 3), (4, 5), (6, 7), (8, 8), (9, 10), (11, 12), (13, 20), (21, 50))
LONG = 8  # words: above, what attention is for should be seen
MAPS = 10


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data also takes anki, or a tab-separated file of your own."""

    beam: Count = 4
    """Hypotheses kept while translating; 1 is greedy."""
    beams: tuple[Count, ...] = (1, 2, 4, 8)
    """Beams to compare, in BLEU and seconds."""


def texts(model: Any, sources: Sequence[str], net: Trained, beam: int) -> list[str]:
    """The translations of some sentences."""
    found = train.translate_all(model, list(sources), *net.words, beam=beam)
    return [sentence_pairs.detokenize(words) for words, _, _ in found]


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set: BLEU, chrF and exact matches beside the baselines, by length and by beam, and ten maps.

    Returns what result.json holds now; the run folder is under "run", how many sentences under "scored".
    """
    device, net = choose(cfg.device), load(cfg.run, finished=True)
    train.use_threads(net.config)
    pairs = sentence_pairs.load(cfg.data or net.config.data, net.config.most_words)
    chosen = held_out.choose(net.run, pairs.name, pairs, "sentences")
    part, model, folder = chosen.part, net.model.to(device.name), net.run.folder
    out = Path(cfg.out) if cfg.out else folder

    answers = {"this network": texts(model, part.sources, net, cfg.beam)}
    if (other := net.without_attention()) is not None:
        answers[NO_ATTENTION] = texts(other.to(device.name), part.sources, net, cfg.beam)
    known = net.pairs().train
    dictionary = baselines.Dictionary.learn(known)
    answers[DICTIONARY] = [dictionary.translate(text) for text in part.sources]
    answers[CONSTANT] = [baselines.commonest(known)] * len(part)
    table = {name: translation_scores.scores(found, part.references) for name, found in answers.items()}
    theirs = {name: scores["bleu"] for name, scores in table.items() if name != "this network"}
    scores = {f"test_{name}": value for name, value in table["this network"].items()}
    result = net.run.scored(scores, theirs, out if chosen.own else None)

    print(f"{chosen.name}: {len(part):,} sentences, beam {cfg.beam}. Run: {folder}")
    runs.tell(chosen.notes)
    print(f"\n{'':28s}{'BLEU':>8s}{'chrF':>8s}{'exact':>8s}")
    for name, row in table.items():
        print(f"{name:28s}{row['bleu']:8.1f}{row['chrf']:8.1f}{row['exact']:8.1%}")
    print(f"(BLEU and chrF by sacreBLEU, case ignored: {translation_scores.signature(part.references)})")
    lengths = print_lengths(part, answers)
    drawing.by_length(out / "bleu_by_length.png", lengths, f"BLEU by length, {Path(chosen.name).name}")
    print_beams(model, part, net, cfg.beams)
    shown = chosen_maps(model, part, net, cfg.beam)
    if shown:
        drawing.maps(out / "alignments.png", shown, columns=2)
        print(f"\npictures: {out / 'alignments.png'}, {out / 'bleu_by_length.png'}")
    return result | {"run": str(folder), "scored": len(part)}


def print_lengths(part: sentence_pairs.Part, answers: dict[str, list[str]]) -> dict[str, list[Any]]:
    """BLEU by the length of the source, of the two networks; and of all sentences of more than eight words."""
    tables = {}
    for name in [name for name in ("this network", NO_ATTENTION) if name in answers]:
        tables[name] = translation_scores.by_length(part.sources, answers[name], part.references, LENGTHS)
    first = next(iter(tables.values()))
    print(f"\n{'words, with signs':28s}" + "".join(f"{f'{low} to {high}':>10s}" for (low, high), _, _ in first))
    print(f"{'sentences':28s}" + "".join(f"{count:10,}" for _, count, _ in first))
    for name, table in tables.items():
        print(f"{name:28s}" + "".join(f"{score:10.1f}" for *_, score in table))
    counted = [sentence_pairs.count_words(text) for text in part.sources]
    if long := [row for row, words in enumerate(counted) if words > LONG]:
        references = [part.references[row] for row in long]
        told = [
            f"{name} {translation_scores.bleu([answers[name][row] for row in long], references):.1f}" for name in tables
        ]
        print(f"of the {len(long):,} sentences of more than {LONG} words: {', '.join(told)}")
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


if __name__ == "__main__":
    cli.launch(main, Config)
