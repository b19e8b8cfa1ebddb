"""Week 4's bench and learning-rate finder: what they measure, what they print, and what they say to bad input."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from programs import assert_picture, config, refused, refused_flags
from torch import nn

from shared.device import Device
from shared.files import read_json
from shared.race import Lap
from week04_lightning import bench, lr_finder, train

CPU = Device("cpu", "float32", "a test")


@pytest.fixture(autouse=True)
def threads():
    """The programs set the number of threads; here it is put back."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """The path of an .npz of noisy patterns in three classes, 8 x 8 in colour, that a network learns at once."""
    path = tmp_path_factory.mktemp("tiny") / "own.npz"
    patterns = np.random.default_rng(99).integers(0, 2, (3, 8, 8, 1)) * 150
    rng, labels = np.random.default_rng(0), np.arange(200) % 3
    np.savez(path, images=(patterns[labels] + rng.integers(0, 105, (200, 8, 8, 3))).astype(np.uint8), labels=labels)
    return path


# ---------------------------------------------------------------- what Lightning costs


def test_step_times_both(capsys):
    before = torch.get_num_threads()
    result = bench.main(config(bench, "--preset", "smoke", "--widths", 2, 3))
    assert torch.get_num_threads() == before
    assert list(result["step"]) == [1] and list(result["step"][1]) == [2, 3]
    for row in result["step"][1].values():
        assert row["plain"] > 0 and row["lightning"] > 0 and row["process"] > 0
        assert row["low"] <= row["ratio"] <= row["high"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "device: cpu, float32 (no GPU found); batch 64, 3 steps a round" or "cuda" in lines[0]
    assert "best of 1 rounds, 1 thread," in lines[2]
    assert [line.split()[1] for line in lines if line.startswith(("| 2 ", "| 3 "))] == ["2", "3"]


@pytest.mark.parametrize(
    ("lightning", "verdict"),
    [(0.0312, "at most 4.0% more: as demanded"), (0.033, "at most 10.0% more: more than the 5% demanded")],
)
def test_the_verdict_is_on_long_steps_alone(monkeypatch, capsys, lightning, verdict):
    took = {2: (0.001, 0.002), 3: (0.030, lightning)}  # of a short step it may be the double
    monkeypatch.setattr(bench, "by_plain_loop", lambda width, *_: lambda: Lap(took[width][0], took[width][0]))
    monkeypatch.setattr(bench, "by_lightning", lambda width, *_: lambda: Lap(took[width][1], took[width][1]))
    bench.main(config(bench, "--preset", "smoke", "--widths", 2, 3))
    assert f"once a step takes 20 ms, Lightning costs {verdict}" in capsys.readouterr().out


def test_the_best_round_counts_and_the_first_does_not(monkeypatch):
    """What the contestants say of themselves counts: a round holds more than training."""
    laps = iter([0.001, 0.009, 0.004, 0.007])
    monkeypatch.setattr(bench, "by_plain_loop", lambda *_: lambda: Lap(next(laps), 1.0))
    monkeypatch.setattr(bench, "by_lightning", lambda *_: lambda: Lap(0.008, 3.0))
    published = {}
    monkeypatch.setattr(bench, "publish", lambda week, name, table: published.update({(week, name): table}))
    result = bench.main(config(bench, "--preset", "smoke", "--rounds", 3, "--threads", 2, "--publish"))
    assert result["step"][2][2] == {
        "plain": 0.004, "lightning": 0.008, "process": 3.0, "ratio": 2.0, "low": 0.008 / 0.009, "high": 2.0,
    }  # fmt: skip
    table = published[4, "bench step"]
    assert table.splitlines()[-1] == "| 2 | 4.00 ms | 8.00 ms | 4.00 ms | 100.0% (-11.1% to 100.0%) | 200.0% |"


def test_on_one_thread_the_processors_time_decides(monkeypatch):
    monkeypatch.setattr(bench, "by_plain_loop", lambda *_: lambda: Lap(0.004, 1.0))
    monkeypatch.setattr(bench, "by_lightning", lambda *_: lambda: Lap(0.008, 3.0))
    assert bench.main(config(bench, "--preset", "smoke"))["step"][1][2]["ratio"] == 3.0


# ---------------------------------------------------------------- how soon it gets there


@pytest.fixture
def small(monkeypatch):
    """Both contestants with networks of a test's size; 160 images in steps of 20."""
    flags = {"width": 4, "batch_size": 20, "head_lr": 0.0, "bias_lr": 0.0, "lr": 0.1, "whiten_epochs": 0.0}
    monkeypatch.setitem(train.PRESETS, "speed", train.PRESETS["speed"] | flags)

    def net(classes):
        return nn.Sequential(nn.AvgPool2d(4), nn.Flatten(), nn.Linear(3 * 8 * 8, classes))

    monkeypatch.setattr(bench, "resnet18", net)


def test_time_to_a_target(small, tiny, capsys):
    flags = ("--data", tiny, "--target", 0.6, "--epochs", 6, "--peer-epochs", 30, "--threads", 1)
    result = bench.main(config(bench, "time_to", *flags))
    ours, peer = result["time_to"]
    assert ours["reached"] and peer["reached"]
    assert ours["accuracy"] >= 0.6 and peer["accuracy"] >= 0.6
    assert ours["seconds"] > 0 and result["ratio"] == peer["seconds"] / ours["seconds"]
    assert peer["params"] == 3 * 8 * 8 * 3 + 3
    told = capsys.readouterr().out
    assert "until val accuracy is 60%" in told and f"ResNet-18: {result['ratio']:.1f} times the time" in told


def test_a_peer_that_does_not_get_there_gives_a_lower_bound(small, tiny, monkeypatch, capsys):
    monkeypatch.setattr(bench, "fast_way", lambda *_: bench.Way("speed", 1, 1e-6, 0.9, True))
    colour = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3))  # does not see what there is to see
    monkeypatch.setattr(bench, "resnet18", lambda classes: colour)
    flags = ("--data", tiny, "--target", 0.99, "--limit", 1e-7, "--peer-epochs", 1, "--threads", 1)
    result = bench.main(config(bench, "time_to", *flags))
    assert not result["time_to"][1]["reached"] and result["ratio"] > 0
    told = capsys.readouterr().out
    assert "not reached" in told and "ResNet-18: not within 0.0 minutes: at least " in told


def test_a_fast_recipe_that_does_not_get_there_has_no_ratio(small, tiny, monkeypatch, capsys):
    monkeypatch.setattr(bench, "fast_way", lambda *_: bench.Way("speed", 1, 1.0, 0.5, False))
    result = bench.main(config(bench, "time_to", "--data", tiny, "--target", 0.9, "--limit", 0, "--threads", 1))
    assert "ratio" not in result and len(result["time_to"]) == 1
    assert "the fast recipe did not reach 90%: give it more --epochs" in capsys.readouterr().out


def test_the_peer_is_the_resnet_18_for_small_images():
    net = bench.resnet18(10)
    assert sum(p.numel() for p in net.parameters()) == 11_173_962
    seen = []
    net.layer4.register_forward_hook(lambda module, args, out: seen.append(out.shape))
    with torch.no_grad():
        assert net.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, 10)
    assert seen == [(1, 512, 4, 4)], "the image is halved three times, not five"


# ---------------------------------------------------------------- the learning-rate finder


def test_running_mean():
    values = [5.0, 1.0, 3.0, 2.0, 8.0, 4.0]
    assert lr_finder.smoothed(values, 3) == pytest.approx([5.0, 3.0, 2.0, 13 / 3, 14 / 3, 4.0])
    assert lr_finder.smoothed([2.0] * 50) == [2.0] * 50
    line = [float(i) for i in range(50)]
    assert lr_finder.smoothed(line) == pytest.approx(line), "it does not lag behind"


def test_the_two_places_on_the_curve():
    rates = np.geomspace(1e-5, 10, 601)
    fall = 2.3 - 1 / (1 + np.exp(-4 * (np.log10(rates) + 2)))  # falls by 1, fastest at 1e-2
    blow_up = np.exp(8 * np.log10(rates))
    steepest, fallen = lr_finder.places(list(rates), list(fall + blow_up))
    assert steepest == pytest.approx(0.01, rel=0.05)
    # nine tenths of a logistic curve are done ln(9) / 4 decades after its middle
    assert fallen == pytest.approx(10 ** (-2 + math.log(9) / 4), rel=0.1)


def test_a_loss_that_never_fell():
    rates = list(np.geomspace(1e-3, 1, 60))
    assert refused(lr_finder.places, rates, list(np.linspace(2, 3, 60))) == (
        "the loss did not fall from a rate of 0.001 to one of 1: try a smaller --low, a larger --high, or more --steps."
    )


def batches(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        labels = torch.randint(0, 3, (16,), generator=generator)
        yield torch.randn(16, 4, generator=generator) + 3 * nn.functional.one_hot(labels, 4), labels


def linear():
    torch.manual_seed(0)
    return nn.Linear(4, 3)


def test_the_rate_grows_by_the_same_factor_and_groups_keep_their_proportion():
    net = linear()
    optimizer = torch.optim.SGD([{"params": [net.weight], "lr": 0.1}, {"params": [net.bias], "lr": 0.3}])
    rates, losses = lr_finder.range_test(net, optimizer, batches(50), 1e-4, 1.0, 41, CPU)
    assert rates == pytest.approx(np.geomspace(1e-4, 1, 41)) and len(losses) == 41
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1.0, 3.0])
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) / 2, "on the way it learns"


def test_it_ends_where_the_loss_blows_up():
    net = nn.Sequential(nn.Linear(4, 16), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    rates, losses = lr_finder.range_test(net, optimizer, batches(400), 1e-3, 1e6, 300, CPU)
    assert 20 < len(rates) == len(losses) < 300
    assert all(map(math.isfinite, losses))


def test_it_ends_where_the_loss_is_no_number():
    net = linear()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    bad = [(x * math.nan if i == 5 else x, y) for i, (x, y) in enumerate(batches(10))]
    rates, losses = lr_finder.range_test(net, optimizer, bad, 1e-3, 1.0, 10, CPU)
    assert len(rates) == len(losses) == 5


def test_finder_from_end_to_end(tiny, tmp_path, capsys):
    flags = ("--preset", "smoke", "--data", tiny, "--side", 17, "--width", 4, "--batch-size", 16, "--steps", 60)
    result = lr_finder.main(config(lr_finder, *flags, "--out", tmp_path / "out"))
    out = Path(result["out"])
    assert {path.name for path in out.iterdir()} == {"config.json", "lr_finder.json", "lr_finder.png"}
    assert_picture(out / "lr_finder.png")
    saved = read_json(out / "lr_finder.json")
    assert saved["suggestion"] == result["suggestion"] and len(saved["rates"]) == len(saved["losses"])
    assert [row["lr"] / saved["suggestion"] for row in saved["checks"]] == pytest.approx([0.1, 1, 10])
    assert all(0 <= row["val_accuracy"] <= 1 for row in saved["checks"])
    assert f"suggestion for --schedule linear: --lr {result['suggestion']:g}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("program", "flags", "message"),
    [
        (bench, ["jump"], "jump: must be one of step, time_to."),
        (bench, ["--target", 85], "--target 85: must be above 0, at most 1."),
        (bench, ["--widths", 0], "--widths 0: must be at least 1."),
        (bench, ["--limit", -1], "--limit -1: must be 0 or more."),
        (lr_finder, ["--low", 0], "--low 0: must be above 0."),
        (lr_finder, ["--steps", 5], "--steps 5: must be at least 21."),
        (lr_finder, ["--check-epochs", -1], "--check-epochs -1: must be 0 or more."),
        (lr_finder, ["--lr", 0], "--lr 0: must be above 0."),
        (lr_finder, ["--resume"], "--resume: no such flag; did you mean --preset?"),
    ],
)
def test_bad_flags(program, flags, message):
    assert refused_flags(program, *flags) == message


@pytest.mark.parametrize(
    ("program", "flags", "message"),
    [
        (
            bench,
            ["time_to", "--data", "nowhere"],
            "--data nowhere: no such file or folder, nor one of sample, cifar10.",
        ),
        (lr_finder, ["--low", 10, "--high", 1], "--low 10 --high 1: the second must be above the first."),
        (lr_finder, ["--crop", 32], "--crop 32: must be below --side, 32."),
    ],
)
def test_bad_input(program, flags, message):
    assert refused(program.main, config(program, *flags)) == message


def test_the_finder_takes_the_recipes_of_train():
    for name, preset in train.PRESETS.items():
        found = vars(config(lr_finder, "--preset", name))
        assert {flag: found[flag] for flag in preset if flag != "plain_epochs"} == {
            flag: value for flag, value in preset.items() if flag != "plain_epochs"
        }
