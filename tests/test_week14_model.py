"""Week 14's loss against open_clip's, alone and over two processes; the towers, and what a batch may hold.

The tests marked `exercise(K)` are what `./course check 14` holds a learner's piece K to.
"""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gathered_losses import PROCESSES, SWITCHES, open_clip_loss
from programs import close, gradients, refused

from week14_clip import model
from week14_clip.model import DualEncoder, DualEncoderConfig


def pairs(n=6, dim=5, seed=0):
    rng = torch.Generator().manual_seed(seed)
    pictures, texts = (F.normalize(torch.randn(n, dim, generator=rng), dim=1) for _ in range(2))
    return pictures.requires_grad_(), texts.requires_grad_(), torch.tensor(7.0, requires_grad=True)


# ---------------------------------------------------------------- exercise 1


def two_pairs():
    """The lesson's, of the cosines 0.9 and 0.1, 0.3 and 0.7: the texts have a direction each that no picture has."""
    texts = torch.tensor([[0.9, 0.3, math.sqrt(0.1), 0.0], [0.1, 0.7, 0.0, math.sqrt(0.5)]])
    return torch.eye(2, 4), texts, torch.tensor(1.0)


@pytest.mark.exercise(1)
def test_loss_is_one_number():
    loss = model.info_nce(*two_pairs())
    assert isinstance(loss, torch.Tensor), f"the loss is {loss!r:.40}, should be a tensor: is `return` missing?"
    assert loss.shape == (), f"the loss has the shape {tuple(loss.shape)}, should be one number"


@pytest.mark.exercise(1)
def test_loss_of_two_pairs_by_hand():
    # Rows choose a text, columns a picture.
    rows = [math.log(1 + math.exp(0.1 - 0.9)), math.log(1 + math.exp(0.3 - 0.7))]
    columns = [math.log(1 + math.exp(0.3 - 0.9)), math.log(1 + math.exp(0.1 - 0.7))]
    expected, one_way = (sum(rows) + sum(columns)) / 4, sum(rows) / 2
    loss = model.info_nce(*two_pairs())
    wrong = {
        one_way: "only the pictures choose: the texts should choose, too, along the columns",
        sum(columns) / 2: "only the texts choose: the pictures should choose, too, along the rows",
        2 * expected: "both directions are added, and should be halved",
    }
    for value, slip in wrong.items():
        assert abs(float(loss) - value) > 1e-4, f"the loss is {float(loss):.4f}: {slip}"
    close(loss, torch.tensor(expected), "the loss of two pairs", 1e-4)


@pytest.mark.exercise(1)
def test_scale_multiplies():
    pictures, texts, scale = pairs()
    expected, divided = open_clip_loss()()(pictures, texts, scale), open_clip_loss()()(pictures, texts, 1 / scale)
    loss = model.info_nce(pictures, texts, scale)
    assert abs(float(loss - divided)) > 1e-4, "the similarities are divided by scale, and should be multiplied by it"
    close(loss, expected, "the loss at scale 7")


@pytest.mark.exercise(1)
@pytest.mark.parametrize("n", [1, 2, 7, 64])
def test_loss_equals_open_clip(n):
    inputs = pairs(n, seed=n)
    ours, grads = gradients(model.info_nce, *inputs)
    theirs, expected = gradients(open_clip_loss()(), *inputs)
    close(ours, theirs, f"the loss of {n} pairs")
    for mine, other, name in zip(grads, expected, ("pictures", "texts", "scale"), strict=True):
        close(mine, other, f"the gradient of {name} with {n} pairs")


def test_loss_between_its_bounds():
    """ln N where all look alike; 0 where each pair is found with certainty; the same when both sides are exchanged."""
    same = F.normalize(torch.ones(8, 4), dim=1)
    assert model.info_nce(same, same, torch.tensor(20.0)).item() == pytest.approx(math.log(8))
    assert model.info_nce(torch.eye(8), torch.eye(8), torch.tensor(100.0)).item() == pytest.approx(0, abs=1e-6)
    pictures, texts, scale = pairs()
    assert torch.equal(model.info_nce(pictures, texts, scale), model.info_nce(texts, pictures, scale))


def test_right_pairs_are_punished_where_a_picture_comes_twice():
    """Two captions of one picture in a batch, each found perfectly: the loss stays at ln 2, and pulls at them."""
    pictures = torch.eye(4)
    twice = torch.eye(4)[[0, 0, 1, 1]]  # 2 pictures, each with 2 texts that lie on it
    scale = torch.tensor(100.0)
    assert model.info_nce(pictures, pictures, scale).item() < 1e-6
    assert model.info_nce(twice, twice, scale).item() == pytest.approx(math.log(2), rel=1e-4)


# ---------------------------------------------------------------- over two processes


@pytest.fixture(scope="module")
def of_processes(tmp_path_factory):
    """What each of two processes found, and the batch that they shared."""
    folder = tmp_path_factory.mktemp("processes")
    pictures, texts, scale = pairs(6, seed=3)
    batch = {"pictures": pictures, "texts": texts, "scale": scale}
    batch = {name: value.detach().numpy() for name, value in batch.items()} | {"upstream": np.float32(-1.7)}
    np.savez(folder / "batch.npz", **batch)
    script = Path(__file__).with_name("gathered_losses.py")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, script, folder], env=environment, capture_output=True, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    return batch, [dict(np.load(folder / f"{rank}.npz")) for rank in range(PROCESSES)]


@pytest.mark.parametrize("local_loss, with_grad", SWITCHES)
def test_gathered_loss_equals_open_clip(of_processes, local_loss, with_grad):
    _, found = of_processes
    for rank, one in enumerate(found):
        for what in ("loss", "0", "1", "2"):
            key = f"{local_loss}_{with_grad}_{what}"
            close(one[f"ours_{key}"], one[f"theirs_{key}"], f"{what} of process {rank}", 1e-6)


@pytest.mark.parametrize("local_loss", [False, True])
def test_gathered_gradients_are_those_of_one_process(of_processes, local_loss):
    """Averaged, as DDP does, the gradients are those of the whole batch: with gather_with_grad, and not without."""
    batch, found = of_processes
    inputs = [torch.tensor(batch[name], requires_grad=True) for name in ("pictures", "texts", "scale")]
    whole = model.info_nce(*inputs)
    expected = torch.autograd.grad(whole, inputs, torch.tensor(batch["upstream"]))
    averaged = sum(one[f"ours_{local_loss}_True_loss"] for one in found) / PROCESSES
    assert averaged == pytest.approx(whole.item(), rel=1e-5)
    for place in range(2):  # a row's gradient is with the process that has it; DDP divides by the number of processes
        rows = np.concatenate([one[f"ours_{local_loss}_True_{place}"] for one in found]) / PROCESSES
        close(rows, expected[place], "gathered with gradients", 1e-5)
        without = np.concatenate([one[f"ours_{local_loss}_False_{place}"] for one in found]) / PROCESSES
        assert np.abs(without - expected[place].numpy()).max() > 1e-3
    close(sum(one[f"ours_{local_loss}_True_2"] for one in found) / PROCESSES, expected[2], "the gradient of scale")


def test_one_process_needs_no_group():
    inputs = pairs()
    assert torch.equal(model.info_nce_across(*inputs, local_loss=True, gather_with_grad=True), model.info_nce(*inputs))


# ---------------------------------------------------------------- the towers


def small(**options):
    torch.manual_seed(0)
    return DualEncoder(DualEncoderConfig(picture_dim=12, text_dim=9, dim=6, **options))


@pytest.mark.parametrize("hidden", [0, 16])
def test_towers_meet_in_one_space(hidden):
    encoder = small(hidden=hidden)
    pictures, texts, scale = encoder(torch.randn(5, 12), torch.randn(5, 9))
    assert pictures.shape == texts.shape == (5, 6)
    close(pictures.norm(dim=1), torch.ones(5), "the length of pictures' vectors")
    close(texts.norm(dim=1), torch.ones(5), "the length of texts' vectors")
    assert scale.item() == pytest.approx(1 / 0.07)


def test_what_is_added_to_a_projection_begins_at_nothing():
    encoder = small(hidden=16)
    x = torch.randn(5, 12)
    assert torch.equal(encoder.picture_tower(x), model.unit(encoder.picture_tower.projection(x)))


def test_scale_of_features_comes_from_training_data():
    tower = small().picture_tower
    x = torch.randn(50, 12) * 5 + 40
    x[:, 3] = 1.0  # a feature that never changes
    tower.fit_scale(x)
    seen = (x - tower.mean) / tower.spread
    close(seen.mean(0), torch.zeros(12), "the mean of what the projection sees", 1e-4)
    assert seen.std(0, correction=0)[3] == 0 and torch.isfinite(tower(x)).all()


def test_temperature_stays_within_its_bound_and_comes_back():
    encoder = small()
    with torch.no_grad():
        encoder.log_scale.fill_(9.0)
    encoder.keep_in_bounds()
    assert encoder.scale.item() == pytest.approx(100)
    model.info_nce(*encoder(torch.randn(5, 12), torch.randn(5, 9))).backward()
    assert encoder.log_scale.grad.abs() > 0  # and is not stuck there


def test_one_batch_is_learned_by_heart():
    encoder, rng = small(hidden=32), torch.Generator().manual_seed(1)
    pictures, texts = torch.randn(16, 12, generator=rng), torch.randn(16, 9, generator=rng)
    optimizer = torch.optim.AdamW(encoder.parameters(), 0.02)
    first = model.info_nce(*encoder(pictures, texts)).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = model.info_nce(*encoder(pictures, texts))
        loss.backward()
        optimizer.step()
        encoder.keep_in_bounds()
    assert loss.item() < 0.05 < first


@pytest.mark.parametrize(
    "options, line",
    [
        ({"dim": 1}, "--dim 1: must be at least 2."),
        ({"dropout": 1.0}, "--dropout 1.0: must be from 0 to below 1."),
        ({"hidden": -1}, "--hidden -1: must be 0 (none) or more."),
        ({"temperature": 0.0}, "--temperature 0.0: must be from 0.01 to 10."),
    ],
)
def test_bad_shapes(options, line):
    assert refused(lambda: DualEncoderConfig(**options)) == line
