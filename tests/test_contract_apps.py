"""What `./course run N app` serves, for every week that has one: in a real browser the page comes up, the main thing is
done once, and the answer is seen; it can be read in light and dark, on a phone too, and asks nobody else for anything.

Week 12's pages are those of week 11 before its service, which its `app` starts: test_week12_browser.py and _serve.py.
"""

import contextlib
import importlib
from pathlib import Path

import chromium
import numpy as np
import pytest
from programs import config, preferences, refused, tiny_llama, word_embedder, write_pdf

from shared import browser, plan, runs

TEXTS = "h1, h3, #about, #hint, .said, .note, .card p, .asked, figcaption, summary, #talk p, #answer div, #sources span"
BREAD = [(20, "Bread"), (11, "Knead the dough for twelve minutes. Let it rest for one hour under a cloth.")]
SOUP = [(20, "Soup"), (11, "Boil the leeks in water. Add salt and pepper before serving.")]


def pytest_generate_tests(metafunc):
    wanted = metafunc.config.getoption("--week")
    for name, numbers in (("number", MADE), ("of_a_run", (9, 10, 13))):
        if name in metafunc.fixturenames:  # ids are no weeks' names, so all of them stay together and share a browser
            metafunc.parametrize(name, [n for n in numbers if plan.is_there(n) and wanted in (None, n)])


def small_run(number, place, *flags):
    """A run of a week on a small model that is trained for two steps."""
    train = importlib.import_module(f"{plan.folder(number)}.train")
    out = place / "run"
    train.main(config(train, "--preset", "smoke", "--max-steps", 2, "--threads", 1, "--out", out, *flags))
    return "--run", out


# ---------------------------------------------------------------- what each week serves, and what one does there


def lora(place, patch):
    from shared import chat_models
    from week09_lora.model import inject, save_adapter

    llama = tiny_llama(place / "llama")
    model = chat_models.load_model(str(llama))
    inject(model, rank=2)
    for name, weights in model.named_parameters():
        if "lora_B" in name:  # it is 0 at first, and both would say the same
            weights.data.fill_(0.1)
    save_adapter(model, place / "adapter", str(llama))
    return ("--adapter", place / "adapter", "--model", llama, "--tokens", 12)


def ask_both(tab, _):
    asked = "Say <b>red</b>"
    tab.locator("#question textarea").fill(asked)
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.querySelectorAll('#talk .card .note:not(:empty)').length == 2")
    assert tab.locator("#talk .asked").inner_text() == asked, "shown as it is"
    for note in tab.locator("#talk .card .note").all_inner_texts():
        assert note == "12 tokens, and cut off" or note.endswith("tokens, and stopped")
    before, after = tab.locator("#talk .card p:not(.note)").all_inner_texts()
    assert before != after


def dpo(place, patch):
    tiny_llama(place / "llama")
    flags = ("--data", preferences(place / "own.jsonl", 40), "--model", place / "llama", "--no-lora", "--max-len", 64)
    return (*small_run(10, place, *flags, "--lr", 0.01), "--tokens", 4)


def compare(tab, _):
    tab.locator("#question textarea").fill("Say red 3")
    tab.locator("#first textarea").fill("red please")
    tab.locator("#second textarea").fill("no red")
    tab.locator("#compare").click()
    tab.locator("#result .cards").wait_for()
    assert "margin" in tab.locator("#result .said").inner_text()
    first, second = tab.locator("#result .card").all_inner_texts()
    assert "red please" in first and "no red" in second and "reward" in first
    tab.locator("#answer").click()
    tab.wait_for_function("document.querySelectorAll('#own .card').length == 3")
    tab.wait_for_function("![...document.querySelectorAll('#own .card p')].some(one => one.innerText == '…')")


def rag(place, patch):
    from week11_rag.answer import Bot
    from week11_rag.exact import ExactIndex
    from week11_rag.retrieve import Retriever
    from week11_rag.store import Settings
    from week11_rag.support import Support, Verdict

    class Believes(Support):
        def judge(self, question, passages, retriever):
            return Verdict(True, 1.0, {})

    index = ExactIndex(None, Settings("stub", 64, 24, 0))
    bot = Bot(Retriever(index, word_embedder()), Believes((), (), (), (), 0.0, 0.3, {}), None, 2)
    bot.add(write_pdf(place / "book.pdf", [BREAD, SOUP]))
    patch.setattr(Bot, "open", classmethod(lambda cls, *_, **__: bot))
    return ()


def ask_the_book(tab, _):
    tab.locator("#question textarea").fill("For how many minutes do I knead the dough?")
    tab.keyboard.press("Enter")
    tab.locator("#sources").get_by_text("[1] book.pdf, page 1").wait_for()
    assert "twelve minutes [1]" in tab.locator("#chat").inner_text().replace("\n", " ")
    tab.wait_for_function("document.querySelector('#page img')?.naturalWidth > 500")


def vit(place, patch):
    return small_run(13, place, "--side", 16, "--width", 16, "--depth", 1, "--examples", 60)


def look(tab, place):
    assert "not a medical device" in tab.locator("#about").inner_text()
    tab.locator("#some button").nth(1).click()
    tab.locator("#looks img").nth(2).wait_for()
    assert "In truth: " in tab.locator("#said").inner_text()
    from PIL import Image

    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), np.uint8)).save(place / "own.png")
    with tab.expect_file_chooser() as chosen:
        tab.locator("#upload").click()
    chosen.value.set_files(place / "own.png")
    tab.wait_for_function("!document.querySelector('#said').innerText.includes('In truth')")
    assert "It says: " in tab.locator("#said").inner_text()


def clip(place, patch):
    from test_week14_search import Towers, put

    from week14_clip import app
    from week14_clip.index import Index

    for name, colour in {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}.items():
        put(place / "photos" / f"{name}.png", colour, (64, 48))
    index = Index(place / "photos", place / "index.safetensors", "m", 3)
    index.update(Towers().of_pictures)
    patch.setattr(app, "opened", lambda *_: Towers())
    patch.setattr(app, "indexed", lambda *_: index)
    return (place / "photos",)


def search(tab, _):
    tab.locator("#words textarea").fill("green")
    tab.keyboard.press("Enter")
    tab.locator("#found img").nth(2).wait_for()
    assert "green.png" in tab.locator("#found").inner_text()


def agent(place, patch):
    from week15_agent import app, graph, memory
    from week15_agent.calculator import CALCULATOR
    from week15_agent.loop import Limits
    from week15_agent.minds import Scripted
    from week15_agent.tools import by_name

    @contextlib.contextmanager
    def opened(cfg):
        said = ["Thought: a product\nAction: calculator[12 * 7]", "Thought: that is it\nAnswer: 84"]
        with memory.saved(":memory:") as checkpointer:
            yield graph.Agent(Scripted(said), by_name(CALCULATOR), checkpointer, Limits(cfg.steps))

    patch.setattr(app, "opened", opened)
    return ()


def ask_the_agent(tab, _):
    tab.locator("#question textarea").fill("What is 12 times 7?")
    tab.keyboard.press("Enter")
    tab.locator("#talk .answer").wait_for()
    assert tab.locator("#talk p").all_inner_texts() == [
        "What is 12 times 7?", "a product", "calculator[12 * 7]", "= 84", "that is it", "84",
    ]  # fmt: skip


def capstone(place, patch):
    from week11_rag import embed
    from week16_capstone import agent, ask, reports  # noqa: F401 (before the embedder is another one)

    words = word_embedder()
    patch.setattr(embed, "Embedder", lambda *_: words)
    patch.setattr(ask, "eyes_of", lambda _: None)
    made = reports.make(3, "val", charts=2)
    (place / "report.pdf").write_bytes(made.content)
    return (place / "report.pdf", "--shelf", place / "shelf")


def ask_the_report(tab, _):
    tab.locator("#question textarea").fill("List the figures")
    tab.keyboard.press("Enter")
    tab.locator("#answer .said").wait_for()
    assert "Figure 1" in tab.locator("#answer .said").inner_text()


MADE = {9: (lora, ask_both), 10: (dpo, compare), 11: (rag, ask_the_book), 13: (vit, look), 14: (clip, search),
        15: (agent, ask_the_agent), 16: (capstone, ask_the_report)}  # fmt: skip


# ---------------------------------------------------------------- the tests


@pytest.fixture(scope="module")
def window():
    with chromium.opened() as found:
        yield found


@chromium.needed
def test_it_comes_up_answers_and_can_be_read(number, window, tmp_path, monkeypatch):
    make, do = MADE[number]
    app = importlib.import_module(f"{plan.folder(number)}.app")
    given = make(tmp_path, monkeypatch)

    def used(page, host, port, *rest):
        """In the place of waiting for Ctrl-C."""
        with browser.served(page, host, 0, *rest) as address:
            tab = chromium.tab_of(window)
            tab.goto(address, wait_until="domcontentloaded")
            tab.locator("h1").wait_for()
            do(tab, tmp_path)
            chromium.can_be_read(tab, f"app{number:02}", TEXTS)
            assert (tab.foreign, tab.errors) == ([], [])
            tab.close()
        return {"address": address}

    monkeypatch.setattr(browser, "serve", used)
    app.main(config(app, *given))


def test_without_a_run_it_says_how_one_is_made(of_a_run, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "RUNS", tmp_path)
    app = importlib.import_module(f"{plan.folder(of_a_run)}.app")
    assert refused(app.main, config(app)) == (
        f"no run of week {of_a_run} with a model.safetensors yet: `./course train {of_a_run}` makes one."
    )


def test_every_app_is_opened_here():
    apps = {int(path.parent.name[4:6]) for path in Path(runs.__file__).parents[1].glob("week*/app.py")}
    assert apps - {12} == {*MADE}
