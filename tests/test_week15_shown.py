"""Week 15's pictures and its bench: that they are drawn, and that every contestant does the same work."""

from programs import assert_picture, config

from week15_agent import bench, figures, loop
from week15_agent.calculator import CALCULATOR
from week15_agent.loop import Event
from week15_agent.minds import Scripted
from week15_agent.tools import by_name


def test_a_trace_is_drawn_with_everything_that_can_happen(tmp_path):
    events = [
        Event("thought", "a sum", step=1),
        Event("action", "calculator[1 + 1]", step=1),
        Event("observation", "$2_a$ " * 60, step=1),
        Event("unparsable", "no turn", ok=False, step=2),
        Event("answer", "2", step=3),
        Event("gave_up", "no answer after 3 steps", ok=False, step=3),
    ]
    figures.trace(tmp_path / "trace.png", "What is 1 + 1?", events)
    assert_picture(tmp_path / "trace.png")


def test_the_script_of_the_trace_is_true(monkeypatch):
    """What stands in the picture without a trained agent: its sum is that of the facts."""
    from shared.errors import CourseError
    from week15_agent import opening, snapshot

    def none(which):
        raise CourseError("none")

    monkeypatch.setattr(opening, "thinking", none)
    events = figures.traced(figures.ASKED, "")
    france, spain = (snapshot.latest(name, "population").value for name in ("France", "Spain"))
    assert [one.text for one in events if one.kind == "answer"] == [str(france - spain)]
    assert all(one.ok for one in events)


def test_families_and_training_are_drawn_from_result_files(tmp_path):
    shares = {"rules, no model": {"arithmetic": 0.5, "lookup_sum": 1.0, "all": 0.7}, "trained": {"arithmetic": 0.9}}
    figures.families(tmp_path / "families.png", shares)
    rows = [
        {"step": step, "train_loss": 2 / step, "val_success": step / 90, "val_success_story": 0.1} for step in (40, 80)
    ]
    figures.training(tmp_path / "training.png", rows)
    figures.saturation(tmp_path / "bm25.png")
    for name in ("families.png", "training.png", "bm25.png"):
        assert_picture(tmp_path / name)


def test_the_bench_asks_what_can_be_worked_out():
    events = list(loop.run(Scripted(bench.script), by_name(CALCULATOR), "what?"))
    results = [one.text for one in events if one.kind == "observation"]
    assert results == ["5", "35", "34", "17", "25", "100", "99"] and events[-1].text == "99"
    assert len(results) + events[-1].step == bench.NODES


def test_the_bench_measures_and_compares_scores(tmp_path):
    cfg = config(bench, "--preset", "smoke", "--out", tmp_path)
    cfg.parts = ("search",)
    assert bench.main(cfg)["search, 1 threads"]["difference"]["largest"] < 1e-9
