"""Checkpoints: what goes in comes out again, exactly; a damaged file is one clear line; an old one survives."""

import json
import random
import sys

import numpy as np
import programs
import pytest

from shared import checkpoint
from shared.errors import CourseError


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "checkpoint.safetensors"


def same(a, b):
    """Equal in value, kind, shape and number format, all the way down."""
    assert type(a) is type(b), (a, b)
    if isinstance(a, dict):
        assert list(a) == list(b) and list(map(type, a)) == list(map(type, b))
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for one, other in zip(a, b, strict=True):
            same(one, other)
    elif hasattr(a, "dtype"):
        assert a.dtype == b.dtype and a.shape == b.shape
        assert a.tolist() == b.tolist()
    else:
        assert a == b


GRID = np.arange(12, dtype=np.float32).reshape(3, 4)
STATES = {
    "nothing": {},
    "no arrays": {"step": 3, "name": "größer", "best": 0.1, "done": True, "none": None},
    "nested": {"a": [{"b": (1, [2, (3,)], {})}, [], ()], "c": {"d": {"e": GRID}}},
    "integer keys": {"state": {0: {"exp_avg": GRID}, 1: {"exp_avg": GRID + 1}}, "mixed": {1: GRID, "1": GRID + 1}},
    "names with dots": {"fc.weight": GRID, "fc": {"weight": GRID + 1}, "": GRID + 2, "a/b c": GRID + 3},
    "the format's own name": {"__metadata__": GRID},
    "scalars and empty arrays": {"zero_d": np.array(2.5), "empty": np.zeros((0, 3)), "int": np.array(-1)},
    "the same array twice": {"tied": GRID, "also": GRID, "view": GRID[1:]},
    "big integers": np.random.default_rng(3).bit_generator.state,
    "Python's generator": {"python": random.Random(3).getstate()},
    "beyond JSON's numbers": {"inf": float("inf"), "minus": -float("inf"), "tiny": 5e-324},
}


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_round_trip(path, state):
    checkpoint.save(path, state)
    same(checkpoint.load(path), state)


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint32", "int64", "uint64", "float16", "float64"])
def test_number_formats(path, dtype):
    state = {"x": np.array([[0, 1], [100, 7]]).astype(dtype)}
    checkpoint.save(path, state)
    same(checkpoint.load(path), state)


@pytest.mark.parametrize("array", [GRID.T, GRID[:, ::2], GRID[::-1], np.broadcast_to(GRID[0], (5, 4))])
def test_arrays_that_are_not_contiguous(path, array):
    checkpoint.save(path, {"x": array})
    np.testing.assert_array_equal(checkpoint.load(path)["x"], array)


def test_nan_stays_nan(path):
    checkpoint.save(path, {"loss": float("nan"), "x": np.array([np.nan, 1.0])})
    loaded = checkpoint.load(path)
    assert np.isnan(loaded["loss"]) and np.isnan(loaded["x"]).tolist() == [True, False]


def test_what_was_loaded_may_be_written_to(path):
    checkpoint.save(path, {"x": GRID})
    loaded = checkpoint.load(path)["x"]
    loaded += 1
    np.testing.assert_array_equal(checkpoint.load(path)["x"], GRID)


def test_arrays_come_as_arrays_and_tensors_as_tensors(path, torch):
    tensor = torch.from_numpy(GRID.copy())
    for state in ({"x": GRID}, {"x": tensor}, {"x": tensor, "mean": GRID, "list": [GRID[:, ::-1], (tensor,)]}):
        checkpoint.save(path, state)
        same(checkpoint.load(path), state)


def test_a_file_of_torch_may_be_read_without_torch(path, torch):
    checkpoint.save(path, {"x": torch.from_numpy(GRID.copy()), "mean": GRID})
    same(checkpoint.load(path, "numpy"), {"x": GRID, "mean": GRID})


def test_torch_tensors_of_every_kind(path, torch):
    grid = torch.arange(6.0).reshape(2, 3)
    state = {
        "bf16": grid.bfloat16(),
        "scalar": torch.tensor(3),
        "empty": torch.zeros(0, 2),
        "not contiguous": grid.T,
        "tied": grid,
        "shares memory": grid.view(3, 2)[1:],
        "rng": torch.get_rng_state(),
    }
    checkpoint.save(path, state | {"parameter": torch.nn.Parameter(grid), "numpy beside them": GRID[:, ::-1]})
    loaded = checkpoint.load(path)
    same(loaded.pop("parameter"), grid)
    same(loaded.pop("numpy beside them"), GRID[:, ::-1])
    same(loaded, state)


def test_the_state_of_an_optimizer_comes_back_in_every_detail(path, torch):
    """AdamW's, as torch makes it. That a training then goes on bit for bit is tested where trainings are, in week 2."""
    generator = torch.Generator().manual_seed(0)
    moments = {"exp_avg": torch.randn(2, 3, generator=generator), "exp_avg_sq": torch.rand(2, 3, generator=generator)}
    groups = {
        "lr": 0.1, "betas": (0.9, 0.999), "eps": 1e-08, "weight_decay": 0.01, "amsgrad": False, "maximize": False,
        "foreach": None, "capturable": False, "differentiable": False, "fused": None, "params": [0, 1],
    }  # fmt: skip
    state = {"state": {0: {"step": torch.tensor(3.0), **moments}, 1: {"step": torch.tensor(3.0)}}}
    state = {"optimizer": state | {"param_groups": [groups]}, "generator": generator.get_state(), "step": 3}
    checkpoint.save(path, state)
    same(checkpoint.load(path), state)


def test_other_programs_can_read_the_numbers(path):
    from safetensors.numpy import load_file

    checkpoint.save(path, {"layers": [{"weight": GRID}]})
    np.testing.assert_array_equal(load_file(path)["layers.0.weight"], GRID)


def test_nothing_is_pickled(path, monkeypatch):
    def refuse(*_, **__):
        pytest.fail("pickle was used")

    for name in ("dump", "dumps", "load", "loads", "Pickler", "Unpickler"):
        monkeypatch.setattr(f"pickle.{name}", refuse)
    checkpoint.save(path, STATES["nested"])
    checkpoint.load(path)
    content = path.read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])  # the format, in full: no code in it
    assert header.keys() == {"__metadata__", "c.d.e"}
    assert len(content) == 8 + int.from_bytes(content[:8], "little") + GRID.nbytes


# What cannot be saved


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            {"model": {"names": {"a", "b"}}},
            "model.names: a checkpoint holds arrays, numbers, strings and None, not set",
        ),
        ({"a": [1, b"x"]}, "a.1: a checkpoint holds arrays, numbers, strings and None, not bytes"),
        ({"a": len}, "a: a checkpoint holds arrays, numbers, strings and None, not builtin_function_or_method"),
        ({"a": np.float32(1)}, "a: a checkpoint holds arrays, numbers, strings and None, not float32"),
        ({"a": {(1, 2): 3}}, "a: a checkpoint's keys are strings and numbers, not tuple"),
    ],
)
def test_other_things_are_refused_and_the_old_checkpoint_stays(path, state, message):
    checkpoint.save(path, {"step": 1})
    with pytest.raises(TypeError) as caught:
        checkpoint.save(path, state)
    assert str(caught.value) == message
    assert checkpoint.load(path) == {"step": 1}
    assert list(path.parent.iterdir()) == [path]


def test_interrupted_save_leaves_the_old_checkpoint(path, monkeypatch):
    import safetensors.numpy

    def save_half(tensors, filename, metadata=None):
        filename.write_bytes(b"half")
        raise KeyboardInterrupt

    checkpoint.save(path, {"step": 1})
    monkeypatch.setattr(safetensors.numpy, "save_file", save_half)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(path, {"step": 2, "x": GRID})
    assert checkpoint.load(path) == {"step": 1}
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="a limit on the size of files is a Unix thing")
@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_full_disk_is_one_clear_line_and_leaves_the_old_checkpoint(path, kind, torch):
    import resource

    big = np.ones(100_000) if kind == "numpy" else torch.ones(100_000)
    checkpoint.save(path, {"step": 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))  # a real failing write, in the middle of the file
    try:
        with pytest.raises(CourseError) as caught:
            checkpoint.save(path, {"step": 2, "x": big})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(caught.value).startswith(f"cannot write {path}: File too large")
    assert checkpoint.load(path) == {"step": 1}
    assert list(path.parent.iterdir()) == [path]


# What cannot be loaded


def refused(path, framework=""):
    message = programs.refused(checkpoint.load, path, framework)
    assert message.startswith(f"{path} is not a whole checkpoint of this course (")
    assert message.endswith("). Train again, or use another run.")
    return message


def test_missing_file(path):
    line = f"no checkpoint at {path}. Train first, or give the folder of a finished run."
    assert programs.refused(checkpoint.load, path) == line


def test_truncated_anywhere(path):
    checkpoint.save(path, {"x": GRID, "step": 3})
    whole = path.read_bytes()
    for length in (0, 1, 7, 8, 9, len(whole) // 2, len(whole) - GRID.nbytes, len(whole) - 1):
        path.write_bytes(whole[:length])
        refused(path)


def test_random_bytes(path):
    generator = random.Random(0)
    for length in (5, 8, 100, 10_000):
        path.write_bytes(generator.randbytes(length))
        refused(path)


def test_page_instead_of_a_checkpoint(path):
    path.write_text("<!doctype html><html><body>404</body></html>", encoding="utf-8")
    refused(path)


@pytest.mark.parametrize(
    "metadata", [None, {"format": "pt"}, {"state": "{"}, {"state": '{"dict": 5}'}, {"state": '{"tensor": "y"}'}]
)
def test_foreign_safetensors_file(path, metadata):
    from safetensors.numpy import save_file

    save_file({"x": GRID}, path, metadata=metadata)
    refused(path)


def test_folder(path):
    path.mkdir()
    refused(path)


def test_number_format_that_numpy_has_not(path, torch):
    """A bf16 model of a later week, given to a NumPy program."""
    checkpoint.save(path, {"x": torch.ones(2).bfloat16()})
    refused(path, "numpy")


def test_a_model_of_torch_where_there_is_none(path, torch, monkeypatch):
    """The same, where only week 1 has been set up: one line, and no traceback about an import."""
    checkpoint.save(path, {"x": torch.ones(2)})
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "torch" in refused(path)
    same(checkpoint.load(path, "numpy"), {"x": np.ones(2, dtype=np.float32)})
