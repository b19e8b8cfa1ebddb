"""Scores a trained translator on sentences it has not seen: `./course eval 5`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week05_attention/eval.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import dataclass
from typing import Any

from shared import cli, held_out, runs, sentence_pairs, translation_scores
from shared.config import Count, EvalConfig
from shared.device import choose
from week05_attention import baselines, breakdown, drawing, train
from week05_attention.baselines import CONSTANT, DICTIONARY
from week05_attention.train import NO_ATTENTION
from week05_attention.trained import load


@dataclass
class Config(EvalConfig):
    """The flags of eval. --data also takes anki, or a tab-separated file of your own."""

    beam: Count = 4
    """Hypotheses kept while translating; 1 is greedy."""
    beams: tuple[Count, ...] = (1, 2, 4, 8)
    """Beams to compare, in BLEU and seconds."""


def main(cfg: Config) -> dict[str, Any]:
    """Reads the test set: BLEU, chrF and exact matches beside the baselines, by length and by beam, and ten maps.

    Returns what result.json holds now; the run folder is under "run", how many sentences under "scored".
    """
    device, net = choose(cfg.device), load(cfg.run, finished=True)
    if not cfg.threads:
        train.use_threads(net.config)
    pairs = sentence_pairs.load(cfg.data or net.config.data, net.config.most_words)
    chosen = held_out.choose(net.run, pairs.name, pairs, "sentences")
    part, model, folder = chosen.part, net.model.to(device.name), net.run.folder
    out = net.run.folder_for(cfg.out, "" if chosen.own else chosen.name)

    answers = {"this network": breakdown.texts(model, part.sources, net, cfg.beam)}
    if (other := net.without_attention()) is not None:
        answers[NO_ATTENTION] = breakdown.texts(other.to(device.name), part.sources, net, cfg.beam)
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
    lengths = breakdown.print_lengths(part, answers)
    drawing.by_length(out / "bleu_by_length.png", lengths, f"BLEU by length, {Path(chosen.name).name}")
    breakdown.print_beams(model, part, net, cfg.beams)
    shown = breakdown.chosen_maps(model, part, net, cfg.beam)
    if shown:
        drawing.maps(out / "alignments.png", shown, columns=3)
        print(f"\npictures: {out / 'alignments.png'}, {out / 'bleu_by_length.png'}")
    return result | {"run": str(folder), "scored": len(part)}


if __name__ == "__main__":
    cli.launch(main, Config)
