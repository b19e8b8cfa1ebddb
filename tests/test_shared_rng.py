"""A resumed run draws the same random numbers, also when its state has been to the disk and back."""

import random
import sys

import numpy as np
import pytest

from shared import checkpoint
from shared.rng import rng_state, set_rng_state


@pytest.fixture(autouse=True)
def as_before():
    """No test of ours changes what another one draws."""
    state = rng_state()
    yield
    set_rng_state(state)


def draw_python_and_numpy():
    draws = [random.random(), random.gauss(0, 1), random.getrandbits(70)]
    # One normal number leaves a second one in store, which is part of the state too.
    return [*draws, np.random.rand(), np.random.randn(), np.random.randint(1 << 30)]  # noqa: NPY002


def draw_torch(torch):
    return [torch.rand(3).tolist(), torch.randn(1).item(), torch.randperm(9).tolist()]


def through_nothing(state, tmp_path):
    return state


def through_a_file(state, tmp_path):
    checkpoint.save(tmp_path / "c.safetensors", {"rng": state})
    return checkpoint.load(tmp_path / "c.safetensors")["rng"]


def through_a_file_as_torch(state, tmp_path):
    checkpoint.save(tmp_path / "c.safetensors", {"rng": state})
    return checkpoint.load(tmp_path / "c.safetensors", "pt")["rng"]


@pytest.mark.parametrize("way", [through_nothing, through_a_file])
def test_python_and_numpy_repeat(way, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)  # as in week 1
    draw_python_and_numpy()  # somewhere in the middle of the sequence
    state = rng_state()
    assert state.keys() == {"python", "numpy"}
    first = draw_python_and_numpy()
    assert draw_python_and_numpy() != first
    set_rng_state(way(state, tmp_path))
    assert draw_python_and_numpy() == first


@pytest.mark.parametrize("way", [through_nothing, through_a_file, through_a_file_as_torch])
def test_torch_repeats_with_them(way, tmp_path):
    torch = pytest.importorskip("torch")
    draw_torch(torch)
    state = rng_state()
    first = draw_python_and_numpy(), draw_torch(torch)
    assert draw_torch(torch) != first[1]
    set_rng_state(way(state, tmp_path))
    assert (draw_python_and_numpy(), draw_torch(torch)) == first


def test_state_is_a_picture_of_that_moment():
    state = rng_state()
    first = draw_python_and_numpy()
    for _ in range(700):  # more than the generators' whole table
        draw_python_and_numpy()
    set_rng_state(state)
    assert draw_python_and_numpy() == first


def test_state_from_before_torch_was_imported():
    torch = pytest.importorskip("torch")
    state = rng_state()
    del state["torch"]
    before = torch.get_rng_state()
    set_rng_state(state)
    assert torch.equal(torch.get_rng_state(), before)


def test_cuda_repeats(device, tmp_path):
    if device != "cuda":
        pytest.skip("needs a GPU")
    import torch

    state = rng_state()
    first = torch.rand(5, device=device).tolist()
    set_rng_state(through_a_file(state, tmp_path))
    assert torch.rand(5, device=device).tolist() == first


def test_state_of_a_machine_with_more_gpus_is_no_trouble_without_one(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    set_rng_state(rng_state() | {"cuda": [torch.get_rng_state()]})
