"""Week 14's ways to show and to classify: Chroma beside the exact search, sheets, thumbnails, the page, zero-shot."""

import base64
import io
import re
import sys

import numpy as np
import pytest
from PIL import Image
from programs import close, config, refused
from test_week14_search import Towers, put, unit

from shared.device import choose
from week14_clip import app, bench, chroma, search, sheet, zero_shot
from week14_clip.index import Index

COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "in/blue": (0, 0, 250), "grey": (90, 90, 90)}


@pytest.fixture
def folder(tmp_path):
    for name, colour in COLOURS.items():
        put(tmp_path / "photos" / f"{name}.png", colour, (64, 48))
    return tmp_path / "photos"


@pytest.fixture
def index(folder):
    found = Index(folder, folder.parent / "index.safetensors", "m", 3)
    found.update(Towers().of_pictures)
    return found


# ---------------------------------------------------------------- Chroma


def test_chroma_finds_what_the_exact_search_finds(tmp_path):
    """Among few vectors it misses none; what has gone is no longer found, and another model begins anew."""
    rng = np.random.default_rng(0)
    matrix = unit(rng.normal(size=(80, 8)))
    names = [f"p{row}" for row in range(80)]
    store = chroma.Chroma(tmp_path / "store", "m")
    assert store.sync(names, matrix) == 80 and store.sync(names, matrix) == 0
    for asked in unit(rng.normal(size=(5, 8))):
        assert store.query(asked, 4) == [names[row] for row in search.top_k(asked, matrix, 4)[0]]
    assert store.sync(names[1:], matrix[1:]) == 0
    assert "p0" not in store.query(matrix[0], 79) and len(store.query(matrix[0], 200)) == 79
    again = chroma.Chroma(tmp_path / "store", "m")
    assert again.sync(names[1:], matrix[1:]) == 0, "it is kept"
    assert chroma.Chroma(tmp_path / "store", "other").sync(names, matrix) == 80


def test_chroma_beside_an_index(index, folder):
    (folder / "copy.png").write_bytes((folder / "red.png").read_bytes())
    index.update(Towers().of_pictures)
    for k in (1, 2, 3, 9):
        asked = unit(np.array([0.9, 0.5, 0.1]))
        found, exact = chroma.nearest(index, asked, k), search.top_k(asked, index.matrix, k)
        assert found[0].tolist() == exact[0].tolist()
        close(found[1], exact[1], "how alike they are")


def test_a_damaged_collection(tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "chroma.sqlite3").write_bytes(b"nonsense" * 100)
    assert "Chroma cannot use this" in refused(chroma.Chroma, tmp_path / "store", "m")


# ---------------------------------------------------------------- sheets and thumbnails


def test_a_contact_sheet(folder, tmp_path):
    paths = [str(folder / f"{name}.png") for name in COLOURS] + [str(folder / "gone.png"), str(folder / "red.png")]
    out = tmp_path / "out" / "sheet.png"
    sheet.save(out, paths, [f"number {n} with a name that is much too long" for n in range(6)], "red \x1b[31mthings")
    with Image.open(out) as page:
        assert page.format == "PNG" and page.size == (12 + 5 * 212, 30 + 12 + 2 * (200 + 18 + 12))
        pixels = np.asarray(page.convert("RGB")).astype(int)
    middles = [pixels[30 + 12 + 100, 12 + 100 + 212 * column] for column in range(5)]
    for middle, colour in zip(middles, [*COLOURS.values(), (251, 250, 246)], strict=True):  # the last has gone
        assert np.abs(middle - colour).max() < 3
    assert (
        refused(sheet.save, tmp_path / "a.jpg", paths, [], "")
        == f"--sheet {tmp_path}/a.jpg: a contact sheet is a .png."
    )


@pytest.mark.parametrize(
    "environment, how",
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-256color"}, ""),
        ({"TERM": "xterm-kitty", "TMUX": "x"}, ""),
        ({}, ""),
    ],
)
def test_terminals_that_show_pictures(environment, how):
    assert sheet.protocol(environment) == how


def test_what_terminals_take_for_a_picture():
    picture = Image.effect_noise((60, 40), 60).convert("RGB")
    kitty = sheet.escaped(picture, "kitty")
    parts = re.findall(r"\x1b_G(.*?);(.*?)\x1b\\", kitty, re.S)
    assert parts[0][0].startswith("a=T,f=100,") and [one[0][-1] for one in parts] == ["1"] * (len(parts) - 1) + ["0"]
    iterm = re.fullmatch(r"\x1b\]1337;File=inline=1;size=(\d+):(.*)\x07", sheet.escaped(picture, "iterm"))
    for content in ("".join(one[1] for one in parts), iterm[2]):
        assert all(len(one[1]) <= 4096 for one in parts)
        with Image.open(io.BytesIO(base64.b64decode(content))) as again:
            assert np.array_equal(np.asarray(again), np.asarray(picture))


def test_sixels_read_back():
    """Decoded by the rules, a picture of few colours is what it was."""
    pixels = np.random.default_rng(0).integers(0, 2, (15, 21, 1), np.uint8) * np.array([255, 51, 0], np.uint8)
    said = sheet.sixel(Image.fromarray(pixels))
    width, height, body = re.fullmatch(r'\x1bP0;1q"1;1;(\d+);(\d+)(.*)\x1b\\', said, re.S).groups()
    found, palette, row, column, colour = np.zeros((int(height), int(width), 3), np.uint8), {}, 0, 0, 0
    for token in re.findall(r"#\d+;2;\d+;\d+;\d+|#\d+|!\d+.|[$\-]|[?-~]", body):
        if token.startswith("#") and ";" in token:
            number, _, *rgb = map(int, token[1:].split(";"))
            palette[number] = [round(255 * value / 100) for value in rgb]
        elif token.startswith("#"):
            colour = int(token[1:])
        elif token in "$-":
            row, column = row + 6 * (token == "-"), 0
        else:
            count = int(token[1:-1]) if token.startswith("!") else 1
            for bit in range(6):
                if (ord(token[-1]) - 63) >> bit & 1:
                    found[row + bit, column : column + count] = palette[colour]
            column += count
    assert np.array_equal(found, pixels)


def test_nothing_is_drawn_into_a_pipe(folder, capsys, monkeypatch):
    monkeypatch.setenv("TERM", "xterm-kitty")
    monkeypatch.delenv("TMUX", raising=False)
    sheet.show([str(folder / "red.png")])
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    sheet.show([str(folder / "red.png")])
    assert capsys.readouterr().out.startswith("\x1b_Ga=T,f=100,")


# ---------------------------------------------------------------- the page


def test_the_page_weighs_words_and_a_picture(index, folder):
    answer = app.answering(index, Towers())
    hits, line = answer("2:green + red", None, 0.5, 2)
    assert [label for _, label in hits] == ["0.89  green.png", "0.77  grey.png"] and line == "2 of 4 pictures"
    picture = str(folder / "in" / "blue.png")
    for weight, first in ((0.0, "red.png"), (1.0, "in/blue.png"), (7, "in/blue.png")):
        assert answer("red", picture, weight, 1)[0][0][1].endswith(first)
    assert answer("", picture, 0.0, 1)[0][0][1] == "1.00  in/blue.png", "alone it counts whatever its weight"
    (folder / "red.png").unlink()
    assert [label for _, label in answer("red", None, 0.5, 1)[0]] == [], "what has gone is not shown"


@pytest.mark.parametrize(
    "words, says",
    [
        ("", "type what to look for, or drop a picture."),
        (" \x1b ", "type what to look for"),
        ("red - red", "its terms cancel"),
        ("dog + ", "a term of this sum is empty"),
        ("x" * 501, "501 characters: a question has at most 500."),
    ],
)
def test_the_page_says_what_is_wrong(index, words, says):
    hits, line = app.answering(index, Towers())(words, None, 0.5, 3)
    assert hits == [] and says in line


def test_the_page_reads_no_files_by_their_names(index, folder):
    """Else whoever reaches it could ask whether a file is there."""

    class Texts(Towers):
        asked: list = []  # noqa: RUF012

        def of_texts(self, texts):
            self.asked.extend(texts)
            return unit(np.ones((len(texts), 3)))

    hits, _ = app.answering(index, Texts())(str(folder / "red.png"), None, 0.5, 1)
    assert hits and Texts.asked == [str(folder / "red.png")]
    (folder / "bad.png").write_bytes(b"no picture")
    hits, line = app.answering(index, Towers())("", str(folder / "bad.png"), 0.5, 1)
    assert not hits and line.startswith("bad.png: not a readable image") and str(folder) not in line


def test_the_page_is_built_and_asked(index):
    page = app.build(index, Towers())
    assert page.analytics_enabled is False
    search_fn = next(one for one in page.fns.values() if one.api_name == "search")
    hits, line = search_fn.fn("green", None, 0.5, 1)
    assert line == "1 of 4 pictures" and hits[0][1] == "1.00  green.png"
    assert "no/where: no such folder." in refused(app.main, config(app, "no/where"))


# ---------------------------------------------------------------- zero-shot


def test_a_class_is_the_mean_of_its_sentences():
    class Sentences(Towers):
        texts = {"red": (1, 0, 0), "a red": (0, 1, 0), "blue": (0, 0, 1), "a blue": (0, 0, 1)}  # noqa: RUF012

    found = zero_shot.classifier(Sentences(), ["red", "blue"], ["{}", "a {}"])
    close(found, np.array([[0.5**0.5, 0.5**0.5, 0], [0, 0, 1]]), "the classes")


def test_pictures_of_class_folders_are_named(tmp_path, monkeypatch, capsys):
    for name, colours in {"red": [(250, 0, 0), (200, 9, 9), (0, 0, 240)], "blue": [(0, 0, 250)]}.items():
        for number, colour in enumerate(colours):
            put(tmp_path / name / f"{number}.png", colour)
    (tmp_path / "blue" / "bad.png").write_bytes(b"nothing")
    monkeypatch.setattr(zero_shot, "opened", lambda *_: Towers())
    result = zero_shot.main(config(zero_shot, tmp_path, "--templates", "{}"))
    assert result == {"accuracy": 0.75, "majority": 0.75, "scored": 4, "by_class": {"blue": 1.0, "red": 2 / 3}}
    out = capsys.readouterr().out
    assert "1 damaged pictures are left out" in out and "always the commonest" in out


def test_bundled_classes():
    photographs = zero_shot.cifar10()
    assert len(photographs.pictures) == 1000 and np.bincount(photographs.labels).tolist() == [100] * 10
    assert [len(zero_shot.cifar10(part).pictures) for part in ("train", "val")] == [4000, 1000]
    drawings = zero_shot.groups()
    assert len(drawings.pictures) == 240 and "food and drink" in drawings.names


@pytest.mark.parametrize(
    "flags, line",
    [
        (("no/where",), "no/where: no such folder, nor cifar10 or sample."),
        (
            ("--templates", "a photo"),
            "--templates 'a photo': the name of a class stands at {}, as in 'a photo of a {}'.",
        ),
    ],
)
def test_bad_flags_of_zero_shot(flags, line):
    assert refused(zero_shot.main, config(zero_shot, *flags)) == line


# ---------------------------------------------------------------- speed


def test_bench_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(bench, "Fresh", lambda device, side=32: made_up(device, side))
    flags = ("--preset", "smoke", "--photos", 2, "--out", tmp_path, "--device", "cpu")
    monkeypatch.setattr(bench, "PHONE", (400, 300))
    found = bench.main(config(bench, "query", "search", *flags))
    assert found["search, 1 threads"]["Chroma"]["recall_at_10"] == 1
    assert found["query, 1 threads"]["with the index"]["ratio"] > 0


def made_up(device, side):
    towers = Towers()
    towers.of_texts = lambda texts: unit(np.ones((len(texts), 3)))
    towers.device = choose("cpu")
    return towers
