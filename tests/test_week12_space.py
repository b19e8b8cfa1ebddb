"""Week 12's Space: the service in its container, as the hub would build, start and ask it."""

import json

import pytest
from programs import config, refused

from shared import box, checkpoint, dry_run, models
from shared.files import write_json
from week12_deploy import space


@pytest.fixture(scope="module")
def runs_of(tmp_path_factory):
    """Flags for space with small runs of weeks 11 and 12, and a sentence encoder that is a stub."""
    place = tmp_path_factory.mktemp("runs")
    ours, exported, encoder = place / "week11", place / "week12", place / "minilm"
    for folder in (ours, exported, encoder):
        folder.mkdir()
    write_json(ours / "config.json", {"data": "sample", "out": "", "resume": False})
    checkpoint.save(ours / "model.safetensors", {"week": 11, "config": {"data": "sample"}})
    for name in ("sources.json", "result.json"):
        write_json(ours / name, {})
    card = {"name": "minilm", "dimension": 4, "longest": 16, "chosen": "int8", "files": {"int8": "int8.onnx"}}
    write_json(exported / "embedder.json", card)
    for path in (exported / "int8.onnx", exported / "tokenizer.json", encoder / "model.safetensors"):
        path.write_bytes(b"weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "fetch", lambda name: encoder)
        yield lambda *flags: config(space, "--run", ours, "--model", exported, *flags)


def test_space_of_the_service_is_its_container(runs_of, tmp_path, capsys):
    space.main(runs_of("--out", tmp_path / "space", "--title", 'My "PDF"'))
    assert "sdk docker; no secret in it\nnext: --dry-run" in capsys.readouterr().out
    head = dry_run.front_matter(tmp_path / "space")
    assert head["sdk"] == "docker" and head["app_port"] == 8000 and head["title"] == 'My "PDF"'
    assert head["base_path"] == "/ui/" and head["license"] == "mit"
    last = dry_run.instructions((tmp_path / "space" / "Dockerfile").read_text(encoding="utf-8"))
    assert [text for word, text in last if word == "FROM"][-1] == "service AS space"
    assert last[-1] == ("CMD", '["--lm", "extractive", "--ui", "open"]')
    files = {path.name for path in (tmp_path / "space").iterdir()}
    assert "compose.yaml" not in files and "app.py" not in files and "COURSE_API_KEY" in readme_of(tmp_path / "space")


def readme_of(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ("--lm smollm2", "--lm smollm2: week 12's Space goes without torch. Take `./course space 11`, or an address."),
        ("--lm a'b", "--lm a'b: must be extractive, or an address."),
        ("--push bot", "--push bot: must be user/name, of letters, digits, dots, dashes and underscores."),
    ],
)
def test_flags_that_do_not_fit(runs_of, tmp_path, flags, line):
    assert refused(space.main, runs_of("--out", tmp_path / "space", *flags.split())) == line
    assert not (tmp_path / "space").exists()


class Answers(box.Box):
    """A box whose service answers as ours does."""

    def __init__(self, status):
        self.status, self.asked = status, []

    def ask(self, *asked, **how):
        self.asked.append((asked, how))
        cited = [{"number": 1, "name": "a.pdf", "page": 7, "quote": "so it is"}]
        return self.status, json.dumps({"text": "It is so [1].", "citations": cited})


def test_the_service_is_asked_with_its_key(runs_of):
    made, key = space.made_of(runs_of()), {"COURSE_API_KEY": "k" * 48}
    assert made.secrets == ("COURSE_API_KEY",) and made.ready[-1] == "/ui/"
    answers = Answers(200)
    assert made.ask(answers, 8000, "Is it?", key) == "It is so [1].\n[1] a.pdf, page 7: so it is"
    sent = {"headers": {"Authorization": f"Bearer {key['COURSE_API_KEY']}"}}
    assert answers.asked == [((8000, "/ask", {"question": "Is it?"}), sent)]
    assert refused(made.ask, Answers(401), 8000, "Is it?", key).startswith("the Space answers 401: ")
