"""The same seed gives the same numbers, everywhere."""

import random
import sys

import numpy as np
import pytest

from shared.rng import rng_state, set_rng_state
from shared.seed import seed_everything


@pytest.fixture(autouse=True)
def as_before():
    state = rng_state()
    yield
    set_rng_state(state)


def draw(seed):
    generator = seed_everything(seed)
    return [random.random(), np.random.rand(), generator.random()]  # noqa: NPY002


def test_same_seed_same_numbers():
    first = draw(3)
    random.random(), np.random.rand()  # noqa: NPY002
    assert draw(3) == first


def test_another_seed_gives_other_numbers():
    assert not set(draw(3)) & set(draw(4))


def test_numbers_are_numpys_own():
    assert seed_everything(7).random() == np.random.default_rng(7).random()


def test_torch_too():
    torch = pytest.importorskip("torch")
    seed_everything(3)
    first = torch.rand(5)
    seed_everything(3)
    assert torch.equal(torch.rand(5), first)
    assert not torch.equal(torch.rand(5), first)


def test_torch_is_not_imported_for_it(monkeypatch):
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    seed_everything(3)
    assert "torch" not in sys.modules
