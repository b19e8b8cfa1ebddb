"""A fine-tuned network of this week, as eval.py, ask.py, ner.py and figures.py use it: `net = trained.load()`."""

from dataclasses import dataclass
from pathlib import Path

from shared import runs
from shared.errors import CourseError
from shared.splits import Part
from week07_bert import qa, tagging
from week07_bert.model import Bert, BertConfig
from week07_bert.squad import Question
from week07_bert.tokenizer import WordPiece
from week07_bert.train import WEEK_NUMBER, Config, Tuned, encode, with_head
from week07_bert.weights import check_vocabulary


@dataclass(frozen=True)
class Trained:
    """The network that was best on val, on the CPU and in evaluation mode, and its tokenizer."""

    run: runs.Trained
    model: Tuned
    tokenizer: WordPiece
    tags: tuple[str, ...]  # none: it answers questions
    config: Config

    def encode(self, part: Part) -> qa.Encoded | tagging.Encoded:
        """A part in windows of tokens, as in training."""
        return encode(self.config, part, self.tokenizer, self.tags)

    def must(self, task: str) -> None:
        """CourseError where it was trained for the other task."""
        if self.config.task != task:
            other = f"./course train 7{' --preset ner' if task == 'ner' else ''}"
            raise CourseError(
                f"{self.run.folder} was trained for --task {self.config.task}. Give --run another folder, or `{other}`."
            )

    def ask(self, question: str, passage: str, n: int = 20) -> qa.Found:
        """The n best answers to a question about a passage of any length.

        Raises:
            CourseError: one of them is empty, or the network was trained to tag.
        """
        self.must("qa")
        for what, text in (("question", question), ("passage", passage)):
            if not self.tokenizer.encode(text)[0]:
                raise CourseError(f"an empty {what}: there is nothing to read.")
        part = Part((Question("asked", question.strip(), passage, ()),))
        (found,), _ = qa.find(self.model, self.encode(part), self.config.longest, n)
        return found

    def tag(self, text: str) -> tuple[tuple[str, ...], list[str], list[float]]:
        """The words of a text, a tag for each, and how sure each is."""
        self.must("ner")
        sentence = tagging.sentence_of(text)
        if not sentence.words:
            raise CourseError("an empty text: there is nothing to read.")
        tags, sure, _ = tagging.find(self.model, self.encode(Part((sentence,))))
        return sentence.words, tags[0], sure[0]


def load(folder: str | Path = "", finished: bool = False, task: str = "") -> Trained:
    """The best network of a run (default: the newest; with `task`, the newest of that task).

    Raises:
        CourseError: there is none, as runs.load says; or its tokenizer is of another network.
    """
    if not folder and task:
        folder = newest(task)
    run = runs.load(WEEK_NUMBER, Config, folder, finished)
    bert = run.saved.get("bert")
    if not isinstance(bert, dict):
        raise CourseError(f"{run.folder} holds no fine-tuned network: `./course train 7` makes one.")
    config, tags = BertConfig(**bert), tuple(run.saved["tags"])
    tokenizer = WordPiece.from_file(run.folder / "vocab.txt", run.saved["lowercase"])
    try:
        check_vocabulary(config, tokenizer)
    except CourseError as error:
        raise CourseError(f"{run.folder / 'vocab.txt'}: {error}") from None
    model = run.fill(with_head(Bert(config), tags, 0), run.saved["model"])
    return Trained(run, model, tokenizer, tags, run.config)


def newest(task: str) -> str | Path:
    """The newest run of a task; the newest of all, where none is of it."""
    folders = {path.parent for path in (runs.RUNS / f"week{WEEK_NUMBER:02}").glob(f"*/{runs.MODEL}")}
    folders = {folder for folder in folders if (folder / "config.json").is_file()}
    mine = [folder for folder in folders if runs.read_config(Config, folder).task == task]
    return max(mine, key=lambda folder: (folder / "config.json").stat().st_mtime_ns, default="")
