"""Cuts quoref_2k.json.gz, the questions of week 7, from the source package `bigbench`, version 1.0.0.

The package holds 6,500 questions of Quoref with a passage each, and the answers as text, without their places. Kept are
questions with one answer that stands in the passage exactly once, as whole words: where a name stands five times,
nobody can say which of the places is meant, and a network would be taught an arbitrary one. Of these the shortest
passages are taken until there are 2,500 questions. The passages (not the questions) are shuffled (seed 0) and marked:
eight of ten to train, one to validate, one to test, so that no passage is in two parts.

The layout is that of SQuAD v1.1, an article for each passage, with its `split` beside its title.

    pip download --no-deps --no-binary :all: bigbench==1.0.0
    python -m shared.samples.cut_quoref bigbench-1.0.0.tar.gz
"""

import gzip
import json
import re
import sys
import tarfile
from pathlib import Path

import numpy as np

from shared.files import written_whole

TASK = "bigbench-1.0.0/bigbench/benchmark_tasks/natural_instructions/subtask002_quoref_answer_generation/task.json"
QUESTIONS = 2500


def read_package(package: Path) -> dict[str, list[dict]]:
    """{passage: its questions as SQuAD has them} of the questions whose one answer stands there exactly once."""
    with tarfile.open(package) as archive:
        examples = json.load(archive.extractfile(TASK))["examples"]
    found: dict[str, list[dict]] = {}
    for number, example in enumerate(examples):
        passage, question = re.fullmatch(r"Passage: (.*?)\s*\nQuestion: (.*)", example["input"], re.S).groups()
        answers = {answer.removesuffix(".") for answer in example["target"]}  # the package ends each with a full stop
        if len(answers) > 1:
            continue
        (answer,) = answers
        places = [match.start() for match in re.finditer(rf"(?<!\w){re.escape(answer)}(?!\w)", passage)]
        questions = found.setdefault(passage, [])
        if answer and len(places) == 1 and all(question.strip() != other["question"] for other in questions):
            where = [{"text": answer, "answer_start": places[0]}]
            questions.append({"id": f"quoref-{number:04}", "question": question.strip(), "answers": where})
    return {passage: questions for passage, questions in found.items() if questions}


if __name__ == "__main__":
    found = read_package(Path(sys.argv[1]))
    kept, count = [], 0
    for passage in sorted(found, key=lambda passage: (len(passage), passage)):
        if count >= QUESTIONS:
            break
        kept.append(passage)
        count += len(found[passage])
    held_out, articles = len(kept) // 10, []
    for place, row in enumerate(np.random.RandomState(0).permutation(len(kept))):
        split = "test" if place < held_out else "val" if place < 2 * held_out else "train"
        paragraph = {"context": kept[row], "qas": found[kept[row]]}
        articles.append({"title": f"passage {place}", "split": split, "paragraphs": [paragraph]})
    text = json.dumps({"version": "1.1", "data": articles}, ensure_ascii=False)
    with written_whole(Path(__file__).parent / "quoref_2k.json.gz") as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))  # no date: same questions, same bytes
    counts = {s: sum(len(found[a["paragraphs"][0]["context"]]) for a in articles if a["split"] == s)
              for s in ("train", "val", "test")}  # fmt: skip
    print(f"{sum(map(len, found.values()))} questions can be placed; kept {count} on {len(kept)} passages: {counts}")
