"""Week 4's ablation from end to end: what is trained, kept, compared and drawn, and what it says to bad input."""

import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import assert_picture, config, refused, refused_flags

from shared.files import read_json
from week04_lightning import ablate, drawing, figures, train
from week04_lightning.optim import schedule


def typed(*flags):
    """What `./course run 4 ablate FLAGS` runs with."""
    return config(ablate, *flags)


def photos(path: Path, count=120, classes=3) -> Path:
    """An .npz of noisy patterns, 8 x 8 in colour, that a network learns at once."""
    patterns = np.random.default_rng(99).integers(0, 2, (classes, 8, 8, 1)) * 150
    rng, labels = np.random.default_rng(0), np.arange(count) % classes
    images = patterns[labels] + rng.integers(0, 105, (count, 8, 8, 3))
    np.savez(path, images=images.astype(np.uint8), labels=labels)
    return path


# ---------------------------------------------------------------- what is compared with what


def test_every_row_changes_what_it_says_and_no_more():
    rows = ablate.recipes(typed("--data", "x", "--epochs", 5), tuple(ablate.PARTS))
    assert list(rows) == ["", *ablate.PARTS] == ["", *ablate.TITLES]
    for part, group in ablate.PARTS.items():
        base = rows[""][ablate.REFINED_ROW if part == "refined" else ablate.PLAIN_ROW]
        for label, changes in group.items():
            flags = rows[part][label]
            changed = {name for name in flags if flags[name] != base[name]}
            assert changed - {"lr"} == {name for name in changes if changes[name] != base[name]} - {"lr"}, label
            assert changed, f"{label} changes nothing"
    for group in rows.values():
        for label, flags in group.items():
            assert (flags["data"], flags["epochs"]) == ("x", 5)
            for lr in flags["lr"] or (0.1,):
                train.check(train.Config(**ablate.at_rate(flags, lr))), label


def test_plain_is_week_2s_recipe_with_a_smaller_network():
    plain = ablate.recipes(typed(), ())[""][ablate.PLAIN_ROW]
    theirs = vars(train.Config(**train.PRESETS["plain"]))
    assert {name for name in plain if plain[name] != theirs[name]} <= {"width", "epochs", "lr", "device"}
    assert theirs["lr"] in plain["lr"]


def test_width_scales_every_network():
    rows = ablate.recipes(typed("--width", 32), ("net",))
    assert rows[""][ablate.PLAIN_ROW]["width"] == 32
    assert [flags["width"] for flags in rows["net"].values()] == [20, 32]


def test_rates_of_their_own_keep_their_proportion():
    flags = ablate.recipes(typed(), ("refined",))[""][ablate.REFINED_ROW]
    half = ablate.at_rate(flags, ablate.QUICK["lr"] / 2)
    assert half["lr"] == ablate.QUICK["lr"] / 2
    for name in ablate.OWN_RATES:
        assert half[name] == pytest.approx(ablate.QUICK[name] / 2)


def test_the_rate_is_chosen_on_val_and_passed_on(capsys):
    asked = []

    def do(todo):
        asked.extend((flags["lr"], flags["seed"]) for flags in todo.values())
        reached = {0.05: 0.5, 0.1: 0.6, 0.2: 0.7, 0.4: None, 0.01: 0.4, 0.03: 0.3, 0.33: 0.65, 1.1: 0.1, 0.8: 0.2}
        return {
            name: {"val_accuracy": value, "test_accuracy": 1 - value} if (value := reached[flags["lr"]]) else {}
            for name, flags in todo.items()
        }

    rows = ablate.search(ablate.recipes(typed("--seed", 7), ("schedules", "augmentation")), 7, do)
    assert rows[""][ablate.PLAIN_ROW]["lr"] == rows["augmentation"]["no flip"]["lr"] == 0.2
    assert rows["schedules"]["constant"]["lr"] == 0.33, "the grid went on where 0.1 was best"
    assert asked[:4] == [(0.05, 7), (0.1, 7), (0.2, 7), (0.4, 7)]
    told = capsys.readouterr().out
    assert "0.05: 50.0%, 0.1: 60.0%, 0.2: 70.0%, 0.4: diverged\n" in told
    assert "0.01: 40.0%, 0.03: 30.0%, 0.1: 60.0%, 0.33: 65.0%, 1.1: 10.0%\n" in told


def test_where_a_grid_goes_on():
    assert ablate.beyond({0.1: 0.5, 0.2: 0.6, 0.4: 0.7}) == 0.8
    assert ablate.beyond({0.4: 0.5, 0.2: 0.6, 0.1: 0.7}) == 0.05
    assert ablate.beyond({0.1: 0.5, 0.2: 0.7, 0.4: 0.6}) is None
    assert ablate.beyond({0.1: 0.0, 0.2: 0.0}) == 0.05, "where all diverged, smaller steps"
    assert ablate.beyond({0.1: 0.5}) is None


def test_a_grid_does_not_go_on_for_ever(capsys):
    rows = ablate.recipes(typed(), ())
    found = ablate.search(
        rows, 0, lambda todo: {name: {"val_accuracy": 1 - 1 / (1 + flags["lr"])} for name, flags in todo.items()}
    )
    assert found[""][ablate.PLAIN_ROW]["lr"] == max(rows[""][ablate.PLAIN_ROW]["lr"]) * 2**ablate.BEYOND
    assert "(at the edge of the grid)" in capsys.readouterr().out


def row(val, test, tta=None, **more):
    made = {"val_accuracy": val, "test_accuracy": test, "seconds": 10.0, "params": 1234, "history": []} | more
    return made | ({"val_accuracy_tta": tta, "test_accuracy_tta": tta} if tta else {})


def test_table_and_bars(tmp_path, monkeypatch):
    plain = ablate.summary({"lr": 0.1, "tta": 0}, [row(0.5, 0.52, 0.9), row(0.6, 0.58, 0.9)])
    mirrored = ablate.summary({"lr": 0.1, "tta": 1}, [row(0.5, 0.52, 0.62), row(0.6, 0.58, 0.68)])
    diverged = {"diverged": True, "seconds": 0.0}
    broken = ablate.summary({"lr": 9.0, "tta": 0}, [diverged, row(0.1, 0.1)])
    lost = ablate.summary({"lr": 9.0, "tta": 0}, [diverged, diverged])
    trivial = ablate.summary({"baseline": ablate.LOGISTIC}, [row(0.3, 0.3), row(0.3, 0.3)])
    summed = {
        "": {ablate.LOGISTIC: trivial, ablate.PLAIN_ROW: plain},
        "regularisation": {"mirrored": mirrored, "broken": broken, "lost": lost},
    }
    lines = [list(map(str.strip, line.strip("|").split("|"))) for line in ablate.table(summed).splitlines()]
    assert len({len(line) for line in lines}) == 1, "as many cells in every row"
    cells = {line[0]: line[1:] for line in lines}
    spread = statistics.stdev([0.52, 0.58])
    assert cells[ablate.PLAIN_ROW] == ["0.1", "55.00 ± 7.07 %", f"55.00 ± {100 * spread:.2f} %", "", "1,234", "10"]
    assert cells["mirrored"][1:4] == ["65.00 ± 4.24 %", "65.00 ± 4.24 %", "+10.0 ± 4.2"]
    assert cells["broken (1 of 2 diverged)"][1:4] == ["10.00 ± 0.00 %", "10.00 ± 0.00 %", "-45.0"]
    assert cells["lost (2 of 2 diverged)"] == ["9", "", "", "", "0", "0"]
    assert cells[ablate.LOGISTIC][0] == "" and cells[ablate.LOGISTIC][3] == "-25.0 ± 3.0"

    drawn = {}
    monkeypatch.setattr(drawing, "ablation", lambda path, bars, title: drawn.update(bars))
    ablate.draw(summed, tmp_path / "a.png")
    ((title, bars),) = drawn.items()
    assert title == ablate.TITLES["regularisation"]
    assert [bar[0] for bar in bars] == ["mirrored", "broken"], "what diverged throughout has no bar"
    assert bars[0][1:] == pytest.approx((10, 100 * math.sqrt(2 * spread**2 / 2)), abs=1e-6)


# ---------------------------------------------------------------- from end to end


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return photos(tmp_path_factory.mktemp("tiny") / "own.npz")


def test_the_networks_that_are_compared_cost_the_same():
    from torch.utils.flop_counter import FlopCounterMode

    from week04_lightning.model import make_net

    rows, cost = ablate.recipes(typed(), ("net", "refined")), {}
    recipes = {"plain": rows[""][ablate.PLAIN_ROW], "refined": rows[""][ablate.REFINED_ROW], **rows["net"]}
    for label, flags in recipes.items():
        net = make_net(train.Config(**ablate.at_rate(flags, 0.1)), 10, 32)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            net.eval()(torch.zeros(1, 3, 32, 32))
        cost[label] = counter.get_total_flops()
    for label, flops in cost.items():
        assert flops == pytest.approx(cost["plain"], rel=0.05), f"{label}: {cost}"


def test_ablate_from_end_to_end_and_again(tiny, tmp_path, monkeypatch, capsys):
    flags = ("--preset", "smoke", "--data", tiny, "--width", 2, "--seeds", 2, "--out", tmp_path / "out")
    first = ablate.main(typed(*flags))
    out = tmp_path / "out"
    assert {path.name for path in out.iterdir()} == {"rows", "ablate.md", "ablate.json", "ablation.png"}
    assert_picture(out / "ablation.png")
    assert read_json(out / "ablate.json") == json.loads(json.dumps(first))
    assert list(first[""]) == [ablate.LOGISTIC, ablate.PLAIN_ROW]
    assert list(first["regularisation"]) == list(ablate.PARTS["regularisation"])
    for group in first.values():
        for label, summed in group.items():
            assert len(summed["val"]) == len(summed["test"]) == 2 and summed["params"] > 0, label
            assert all(0 <= value <= 1 for value in summed["val"] + summed["test"])
    assert statistics.mean(first[""][ablate.LOGISTIC]["test"]) > 0.9, "logistic regression learns these patterns"
    # the rates of the plain recipe from one seed, one of them again from the other; 3 rows twice; the baseline twice
    (told,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith(f"  {ablate.PLAIN_ROW}")]
    rates = told.count("%") + told.count("diverged")
    assert rates >= 4 and len(list((out / "rows").iterdir())) == rates + 1 + 3 * 2 + 2

    def never(flags, threads):
        raise AssertionError("trained again")

    monkeypatch.setattr(ablate, "train_once", never)
    capsys.readouterr()
    again = ablate.main(typed(*flags))
    assert json.dumps(again) == json.dumps(first)
    assert (out / "ablate.md").read_text(encoding="utf-8") in capsys.readouterr().out


def test_a_diverged_training_is_a_row_and_no_end(tiny):
    plain = ablate.recipes(typed("--data", tiny, "--width", 2, "--epochs", 1), ())[""][ablate.PLAIN_ROW]
    flags = ablate.at_rate(plain, 1e30) | {"norm": False, "schedule": "constant", "batch_size": 8}
    assert ablate.train_once(flags, 1) == {"diverged": True, "seconds": 0.0}


# ---------------------------------------------------------------- pictures


def test_pictures(tmp_path):
    drawing.ablation(tmp_path / "a.png", {"one": [("x", 1.0, 0.2), ("y", -1.0, 0.0)], "two": [("z", 0.1, 0.3)]}, "T")
    histories = [[{"epoch": e, "train_loss": 1 / e, "val_accuracy": 0.1 * e} for e in (1, 2, 3)] for _ in range(2)]
    drawing.versus(tmp_path / "v.png", {"plain": histories, "refined": histories})
    drawing.schedules(tmp_path / "s.png", {"step": [schedule("step", 9)(i) for i in range(9)]}, 0.1)
    photo = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    figures.augmentations(tmp_path / "g.png", photo, photo[::-1].copy(), seed=0)
    for name in "avsg":
        assert_picture(tmp_path / f"{name}.png")


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["colours"],
            "colours: must be one of optimizers, schedules, augmentation, regularisation, net, refined, all.",
        ),
        (["--seeds", 0], "--seeds 0: must be at least 1."),
        (["--jobs", -1], "--jobs -1: must be 0 or more."),
        (["--resume"], "--resume: no such flag; did you mean --preset?"),
    ],
)
def test_bad_flags(flags, message):
    assert refused_flags(ablate, *flags) == message


def test_data_that_is_not_there(tmp_path):
    cfg = typed("--data", "nowhere", "--out", tmp_path / "out")
    assert refused(ablate.main, cfg) == "--data nowhere: no such file or folder, nor one of sample, cifar10."
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("parts", "done", "name"),
    [
        ([], tuple(ablate.PARTS), "ablate"),
        (["all", "net"], tuple(ablate.PARTS), "ablate"),
        (["net", "net"], ("net",), "ablate net"),
    ],
)
def test_all_means_all_and_the_table_is_published_under_its_parts(parts, done, name, tiny, tmp_path, monkeypatch):
    made, published = row(0.5, 0.52, 0.9), {}
    monkeypatch.setattr(ablate, "run_all", lambda todo, *_: dict.fromkeys(todo, made))
    monkeypatch.setattr(ablate, "draw", lambda *_: None)
    monkeypatch.setattr(ablate, "publish", lambda week, name, table: published.update({(week, name): table}))
    found = ablate.main(typed(*parts, "--data", tiny, "--out", tmp_path, "--publish"))
    assert tuple(part for part in found if part) == done
    ((key, text),) = published.items()
    assert key == (4, name) and f": {tiny}, 8 epochs, 3 seeds, " in text.splitlines()[0]
    assert text.endswith((tmp_path / "ablate.md").read_text(encoding="utf-8").strip())


def test_a_report_does_not_find_what_smoke_draws():
    """It takes the newest picture of runs/week04/*, of trainings that have learned something."""
    found = [config(ablate, "--preset", preset).out for preset in ("quick", "smoke")]
    assert found == [str(ablate.FOLDER), str(ablate.FOLDER.parent / "smoke" / "ablate")]
