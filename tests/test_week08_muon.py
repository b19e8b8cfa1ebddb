"""Week 8's Muon: against torch's own, against singular values, and what it does for a matrix."""

import pytest
import torch
from programs import close

from week08_gpt.muon import Muon, orthogonal


def random(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 20), (20, 8), (12, 16)])
def test_all_directions_become_about_as_large(shape):
    matrix = random(*shape) @ torch.diag(torch.logspace(0, -1.5, shape[1]))  # singular values far apart
    u, before, v = torch.linalg.svd(matrix, full_matrices=False)
    found = orthogonal(matrix)
    singular = u.T @ found @ v.T
    assert before.max() / before.min() > 4
    assert (singular.diag() > 0.3).all() and (singular.diag() < 1.3).all()
    close(
        singular - singular.diag().diag(),
        torch.zeros(len(before), len(before)),
        "what is mixed between directions",
        1e-4,
    )
    close(orthogonal(1000 * matrix), found, "what becomes of a matrix 1,000 times as large", 1e-4)
    assert orthogonal(torch.zeros(3, 4)).eq(0).all()


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="torch before 2.9 has none")
def test_steps_equal_torchs_up_to_its_bf16():
    start = [random(8, 20), random(20, 8, seed=2)]
    mine, theirs = ([w.clone().requires_grad_() for w in start] for _ in range(2))
    options = {"lr": 0.05, "weight_decay": 0.1, "momentum": 0.9}
    ours, other = Muon(mine, **options), torch.optim.Muon(theirs, **options)
    for step in range(4):
        for a, b in zip(mine, theirs, strict=True):
            a.grad = random(*a.shape, seed=10 + step)
            b.grad = a.grad.clone()
        ours.step(), other.step()
    for a, b, w in zip(mine, theirs, start, strict=True):
        assert (a - b).norm() < 0.02 * (b - w).norm(), "the way that 4 steps have gone"


def test_it_goes_on_from_a_saved_state():
    def after(steps, weights, optimizer):
        for step in steps:
            weights.grad = random(4, 6, seed=step)
            optimizer.step()

    whole = random(4, 6).requires_grad_()
    after(range(6), whole, Muon([whole]))
    half = random(4, 6).requires_grad_()
    first = Muon([half])
    after(range(3), half, first)
    second = Muon([half])
    second.load_state_dict(first.state_dict())
    after(range(3, 6), half, second)
    assert torch.equal(half, whole)
