"""Week 14's data: the emoji, Flickr8k's layouts, a folder of one's own, Unsplash Lite from loopback; batches."""

import io
import json
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image
from programs import refused

from shared.files import ROOT
from shared.splits import Part
from week14_clip import data, unsplash
from week14_clip.picture import Picture


def photo(colour, size=(40, 30)):
    file = io.BytesIO()
    Image.new("RGB", size, colour).save(file, "JPEG")
    return file.getvalue()


def put(folder, *names):
    """A picture of its own for each name."""
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photo((number * 37 % 256, number * 11 % 256, number % 256)))


# ---------------------------------------------------------------- the sample


def test_sample_holds_out_concepts_and_a_style():
    found = data.load("sample")
    assert (len(found.train), len(found.val), len(found.test)) == (842 * 3, 120 * 3, 240)
    parts = [{one.concept for one in part.items} for part in (found.train, found.val, found.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    styles = [{one.name.split("/")[0] for one in part.items} for part in (found.train, found.test)]
    assert styles == [set(data.STYLES), {data.NEW_STYLE}]
    assert found.own_test and len(set(found.everything.examples)) == len(found.everything)


def test_drawings_show_what_their_names_say():
    by = {one.name: one for one in data.emoji("train", data.STYLES).items}
    by |= {one.name: one for part in ("val", "test") for one in data.emoji(part, data.STYLES).items}
    apples = [np.asarray(one.read()) for one in by.values() if one.captions[0] == "red apple"]
    assert len(apples) == 3 and all(apple.shape == (64, 64, 3) for apple in apples)
    for apple in apples:
        middle = apple[24:44, 20:44].reshape(-1, 3).mean(0)
        assert middle[0] > 1.5 * max(middle[1:]), f"a red apple is {middle}"
    assert all(0 < len(one.captions) < 3 and one.captions[0] for one in by.values())


def test_limit():
    assert len(data.load("sample", limit=30).train) == 30


# ---------------------------------------------------------------- Flickr8k


def jsonl(path, rows):
    path.write_text("".join(json.dumps({"image": i, "captions": c}) + "\n" for i, c in rows), encoding="utf-8")


def test_flickr_jsonl(tmp_path):
    names = [f"{n}.jpg" for n in range(24)]
    put(tmp_path / "images", *names)
    jsonl(tmp_path / "captions_train.jsonl", [(one, [f"a {one}", "b"]) for one in names[:20]] + [("no.jpg", ["c"])])
    jsonl(tmp_path / "captions_dev.jsonl", [(one, ["d"]) for one in names[20:]])
    found = data.load(str(tmp_path))
    assert (len(found.train), len(found.val), len(found.test)) == (18, 2, 4)
    assert {one.name for one in found.test.items} == set(names[20:])  # the published dev part is to test with
    assert found.test.items[0].captions == ("d",) and found.own_test
    assert found.notes[0] == "1 of 21 pictures with captions are not there, as no.jpg"
    jsonl(tmp_path / "captions_test.jsonl", [(names[0], ["e"])])
    found = data.load(str(tmp_path))
    assert (len(found.train), len(found.val), len(found.test)) == (20, 4, 1)
    (tmp_path / "captions_dev.jsonl").write_text('{"image": "1.jpg"}\n', encoding="utf-8")
    line = f'{tmp_path}/captions_dev.jsonl, line 1: not {{"image": …, "captions": […]}}.'
    assert refused(data.load, str(tmp_path)) == line


def test_flickr_as_published(tmp_path):
    names = [f"{n}_a.jpg" for n in range(12)]
    put(tmp_path / "Flicker8k_Dataset", *names)
    lines = [f"{one}#{n}\tcaption {n} of {one}\n" for one in names for n in range(5)]
    (tmp_path / "Flickr8k.token.txt").write_text("".join(lines), encoding="utf-8")
    for part, rows in (("train", names[:8]), ("dev", names[8:10]), ("test", names[10:])):
        (tmp_path / f"Flickr_8k.{part}Images.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    found = data.load(str(tmp_path))
    assert (len(found.train), len(found.val), len(found.test)) == (8, 2, 2)
    assert found.train.items[0].captions == tuple(f"caption {n} of {names[0]}" for n in range(5))
    (tmp_path / "Flickr8k.token.txt").write_text("0_a.jpg#0 no tab\n", encoding="utf-8")
    assert refused(data.load, str(tmp_path)).endswith("line 1: not `photo.jpg#0<tab>caption`.")


# ---------------------------------------------------------------- a folder of one's own


def test_names_of_files_are_captions(tmp_path):
    dogs = [f"{word} dog.jpg" for word in ["old", "new", "big", "wet", "mad", "sad", "fat"]]
    others = ["greenTree-02.png", "blueHouse.jpg", "sea.jpg", "IMG_2041.JPG", ".hidden.jpg"]
    put(tmp_path, "trip/red_car_a.jpg", "trip/red_car_b.jpg", *dogs, *others)
    found = data.load(str(tmp_path))
    captions = {one.captions[0] for one in found.everything.items}
    assert {"green tree", "blue house", "sea", "old dog"} < captions and not any("img" in one for one in captions)
    assert found.notes[0] == "their names are the captions; 1 pictures without words in their names are left out"


def test_captions_csv(tmp_path):
    put(tmp_path, *[f"{n}.jpg" for n in range(12)])
    rows = [f'{n}.jpg,thing {n}\n{n}.jpg,"a thing, number {n}"\n' for n in range(12)]
    (tmp_path / "captions.csv").write_text("\ufeffimage,Caption\n" + "".join(rows) + "gone.jpg,x\n", encoding="utf-8")
    found = data.load(str(tmp_path))
    assert len(found.everything) == 12 and (len(found.val), len(found.test)) == (1, 1)
    assert all(len(one.captions) == 2 for one in found.everything.items)
    assert data.load(str(tmp_path)).test == found.test  # always the same ones
    (tmp_path / "captions.csv").write_text("a,b\n1,2\n", encoding="utf-8")
    line = f"{tmp_path}/captions.csv: needs a header with the columns image and caption."
    assert refused(data.load, str(tmp_path)) == line


def test_copies_are_taken_once_and_a_caption_stays_in_one_part(tmp_path):
    put(tmp_path, *[f"thing {chr(97 + n)}{chr(97 + n)}.jpg" for n in range(15)])
    (tmp_path / "copy of it.jpg").write_bytes((tmp_path / "thing aa.jpg").read_bytes())
    assert len(data.load(str(tmp_path)).everything) == 15


@pytest.mark.parametrize(
    "names, says",
    [
        ([], "no pictures in this folder."),
        (["IMG_1.jpg", "DSC0002.jpg"], "nothing says what is on these pictures."),
        (["cat.jpg", "dog.jpg"], "2 different captions are too few to cut in three: 10 or more."),
    ],
)
def test_folders_to_learn_nothing_from(tmp_path, names, says):
    put(tmp_path, *names)
    assert says in refused(data.load, str(tmp_path))


def test_no_such_data():
    assert (
        refused(data.load, "/no/where")
        == "--data /no/where: no such folder, nor one of sample, flickr8k, unsplash-lite."
    )
    assert "put its published files into" in refused(data.load, "flickr8k")


# ---------------------------------------------------------------- Unsplash Lite


class Host(BaseHTTPRequestHandler):
    """Answers by the picture's number: 3 is gone, 4 is busy once, 5 is no picture, 6 is cut off for good."""

    asked: ClassVar[Counter] = Counter()
    agents: ClassVar[set] = set()

    def do_GET(self):
        number = int(self.path.partition("?")[0].rpartition("-")[2])
        self.asked[self.path] += 1
        self.agents.add(self.headers["User-Agent"])
        content = photo((number * 9 % 256, 80, 80))
        if number == 3 or (number == 4 and self.asked[self.path] == 1):
            self.send_response(404 if number == 3 else 503)
            self.send_header("Retry-After", "2")
            self.end_headers()
            return
        content = b"<html>sorry</html>" if number == 5 else content
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if number == 6 else content)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def host():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Host.asked, Host.agents = Counter(), set()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def lite(tmp_path, host):
    """Tables of the published form, in two parts, of 16 photos."""
    header = "photo_id\tphoto_url\tphoto_image_url\tphoto_description\tphotographer_username\tai_description\n"
    for part in (0, 1):
        lines = [f"id_{n}\tx\t{host}/photo-{n}\t{'' if n % 2 else f'the {n}th sight'}\tme\ta view of number {n}\n"
                 for n in range(8 * part, 8 * part + 8)]  # fmt: skip
        (tmp_path / f"photos.tsv00{part}").write_text(header + "".join(lines), encoding="utf-8")
    words = "photo_id\tkeyword\tai_service_1_confidence\tai_service_2_confidence\tsuggested_by_user\n"
    words += "id_0\tsea\t98.2\t\tf\nid_0\tfog\t12.5\t3\tf\nid_0\thome\t\t\tt\nid_99\tx\t99\t\tf\n"
    (tmp_path / "keywords.tsv000").write_text(words, encoding="utf-8")
    return tmp_path


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch):
    monkeypatch.setattr(unsplash, "PAUSE", 0.0)
    monkeypatch.setattr(unsplash, "BACKOFF", 0.0)
    real = unsplash.fetch
    monkeypatch.setattr(unsplash, "fetch", lambda url, sleep: real(url, lambda seconds: None))


def test_unsplash_lite(lite):
    found = data.load(str(lite), width=200)
    names = {one.name for one in found.everything.items}
    assert names == {f"id_{n}.jpg" for n in range(16)} - {"id_3.jpg", "id_5.jpg", "id_6.jpg"}
    assert found.notes == ("3 of 16 pictures are no longer to be had",)
    first = next(one for one in found.everything.items if one.name == "id_0.jpg")
    assert first.captions == ("the 0th sight", "a view of number 0") and first.tags == ("sea", "home")
    assert first.read().size == (40, 30)
    assert all(path.endswith("?w=200&fm=jpg&q=80&fit=max") for path in Host.asked) and Host.agents == {unsplash.AGENT}
    assert Host.asked["/photo-4?w=200&fm=jpg&q=80&fit=max"] == 2  # it was busy, and asked once more


def test_what_is_here_is_not_asked_for_again(lite):
    data.load(str(lite), width=200)
    Host.asked.clear()
    data.load(str(lite), width=200)
    # Those that are gone are remembered; one that came damaged through the network may come whole next time.
    assert {path.partition("?")[0] for path in Host.asked} == {"/photo-6"}
    assert not list(lite.rglob("*.tmp"))


def test_limit_is_what_is_fetched(lite):
    unsplash.load(lite, 4, 100)
    assert len(Host.asked) == 4


def test_pictures_that_cannot_be_reached(lite):
    text = (lite / "photos.tsv000").read_text(encoding="utf-8")
    port = text.partition("127.0.0.1:")[2].partition("/")[0]
    for part in lite.glob("photos.tsv*"):
        part.write_text(part.read_text(encoding="utf-8").replace(f":{port}/", ":9/"), encoding="utf-8")
    said = refused(unsplash.load, lite, 0, 100)
    assert said.startswith("the pictures cannot be reached (") and said.endswith(
        "0 are here, and the same command goes on."
    )


def test_tables_that_are_others(lite):
    (lite / "photos.tsv000").write_text("photo_id\turl\n1\t2\n", encoding="utf-8")
    line = f"{lite}/photos.tsv000: the column photo_image_url is missing; is it the published table?"
    assert refused(unsplash.load, lite, 0, 100) == line


@pytest.mark.parametrize("url", ["file:///etc/passwd", "nonsense", ""])
def test_addresses_that_are_none(url):
    assert refused(unsplash.address, url, 100).startswith("not an address of a picture: ")


# ---------------------------------------------------------------- batches


@pytest.mark.parametrize("size", [1, 4, 7, 100])
def test_no_batch_has_a_concept_twice(size):
    """Of five captions of a picture one goes into a batch, and of three drawings of a thing one."""
    rng = np.random.default_rng(0)
    concept, captions = rng.integers(0, 20, 60), rng.integers(1, 6, 60)
    found = data.batches(concept, captions, size, np.random.default_rng(1))
    expected = min(size, len(np.unique(concept)))
    for rows, chosen in found:
        assert len(rows) == expected == len(np.unique(concept[rows])), "a concept is twice in a batch"
        assert (chosen < captions[rows]).all() and (chosen >= 0).all()
    everything = np.concatenate([rows for rows, _ in found])
    assert len(np.unique(everything)) == len(everything), "a picture is twice in an epoch"


def test_an_epoch_has_all_pictures_and_other_epochs_other_captions():
    concept, captions = np.arange(40), np.full(40, 5)
    epochs = [data.batches(concept, captions, 8, np.random.default_rng([0, epoch])) for epoch in (0, 1)]
    again = data.batches(concept, captions, 8, np.random.default_rng([0, 0]))
    for rows, _ in (zip(*epoch, strict=True) for epoch in epochs):
        assert sorted(np.concatenate(rows)) == list(range(40))
    assert all(
        np.array_equal(a, b) for one, two in zip(epochs[0], again, strict=True) for a, b in zip(one, two, strict=True)
    )
    said = [dict(zip(*map(np.concatenate, zip(*epoch, strict=True)), strict=True)) for epoch in epochs]
    assert sum(said[0][n] != said[1][n] for n in range(40)) > 20


def test_concepts_are_numbered():
    items = tuple(Picture(str(n), ("x",), concept, str(n)) for n, concept in enumerate("baab"))
    assert data.numbered(Part(items)).tolist() == [1, 0, 0, 1]


def test_names_of_data_are_known():
    from shared.config import DATA_SETS

    assert {"sample", *data.BY_HAND} <= DATA_SETS and (ROOT / "shared/samples/emoji.jsonl").is_file()
