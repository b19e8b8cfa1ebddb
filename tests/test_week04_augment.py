"""Week 4's augmentation: what each transform may do to a photograph, and that it does it to each one differently.

The tests marked `exercise(K)` are what `./course check 4` holds a learner's piece K to.
"""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from programs import close

from week04_lightning import augment


def photos(count=16, side=8, dtype=torch.uint8):
    """Images in which every pixel is another one, in channels_last as week 2 keeps them."""
    images = torch.randint(0, 256, (count, side, side, 3), generator=torch.Generator().manual_seed(1))
    return images.to(dtype).permute(0, 3, 1, 2)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


# ---------------------------------------------------------------- flips


def test_alternating_flip_shows_every_image_both_ways_in_two_epochs():
    images, rows = photos(200), torch.arange(200)
    first, second, third = (augment.alternating_flip(images, rows, epoch) for epoch in range(3))
    mirrored = images.flip(3)
    for i in range(200):
        assert sorted([torch.equal(first[i], images[i]), torch.equal(second[i], images[i])]) == [False, True]
        assert torch.equal(second[i], mirrored[i] if torch.equal(first[i], images[i]) else images[i])
    assert torch.equal(first, third)


def test_coins_are_fair_and_follow_from_the_image_and_the_seed_alone():
    rows = torch.arange(50_000)
    tosses = [augment.coins(rows, seed) for seed in range(4)]
    for toss in tosses:
        assert abs(toss.float().mean() - 0.5) < 0.01
        assert abs((toss[1:] == toss[:-1]).float().mean() - 0.5) < 0.01, "neighbours must not depend on each other"
    for toss in tosses[1:]:
        assert abs((toss == tosses[0]).float().mean() - 0.5) < 0.01, "another seed, other coins"
    some = torch.tensor([7, 3, 49_999])
    assert torch.equal(augment.coins(some, 2), tosses[2][some]), "whatever else is in the batch"


# ---------------------------------------------------------------- exercise 3: crop


@pytest.mark.parametrize(("position", "expected"), [(-3, 3), (-1, 1), (0, 0), (4, 4), (7, 7), (8, 6), (9, 5), (10, 4)])
def test_reflected(position, expected):
    assert augment.reflected(torch.tensor(position), 8) == expected


def windows(images, pixels, mode="reflect"):
    """{offsets of rows and columns: window}: all (2 * pixels + 1)², cut by torch from padded images."""
    padded, (H, W) = F.pad(images.float(), (pixels,) * 4, mode=mode).to(images.dtype), images.shape[2:]
    moves = range(2 * pixels + 1)
    return {(i - pixels, j - pixels): padded[:, :, i : i + H, j : j + W] for i in moves for j in moves}


def offsets(cut, allowed):
    """For each cropped image the offsets of the window that it is, None where it is none."""
    here = [{move: window[i] for move, window in allowed.items()} for i in range(len(cut))]
    return [
        next((m for m, window in moves.items() if torch.equal(cut[i], window)), None) for i, moves in enumerate(here)
    ]


def check_crop(cut, images, pixels, what):
    """Each is one of its own windows. Returns the offsets."""
    if cut.shape != images.shape:
        raise AssertionError(f"with {what}, the crop has the shape {tuple(cut.shape)}, should be {tuple(images.shape)}")
    assert cut.dtype == images.dtype, f"with {what}, the crop is {cut.dtype}, should be {images.dtype} as what came in"
    moves = offsets(cut, windows(images, pixels))
    wrong = [i for i, move in enumerate(moves) if move is None]
    if wrong:
        slips = {
            "circular": "what comes in is the other end of the image, should be its reflection: reflected()",
            "replicate": "what comes in is the border once more, should be its reflection: reflected()",
            "constant": "what comes in is 0, should be the image's reflection: reflected()",
        }
        for mode, slip in slips.items():
            assert None in offsets(cut, windows(images, pixels, mode)), f"with {what}, {slip}"
        B, C, H, W = cut.shape
        shapes = {
            "(B, H, W, C) is reshaped, should be permuted": cut.reshape(B, H, W, C).permute(0, 3, 1, 2),
            "rows and columns change places, should not: permute(0, 3, 1, 2)": cut.transpose(2, 3) if H == W else cut,
        }
        for slip, meant in shapes.items():
            assert None in offsets(meant, windows(images, pixels)), f"with {what}, {slip}"
        if pixels + 1 < min(images.shape[2:]):
            far = offsets(cut, windows(images, pixels + 1))[wrong[0]]
            assert far is None, f"with {what}, an image is moved by {far}, should be by at most {pixels} each way"
        raise AssertionError(f"with {what}, crop {wrong[0]} is no window of its image, should be one: rows or columns?")
    return moves


# From the simplest on, one thing more in each. Drawn are eight crops of each.
# what, images (B, C, H, W), pixels
SMALL = [
    ("one image of 3 x 3", (1, 1, 3, 3), 1),
    ("three channels", (1, 3, 3, 3), 1),
    ("a wide image", (1, 1, 3, 5), 1),
    ("a high image", (1, 1, 5, 3), 1),
    ("two pixels", (1, 1, 3, 3), 2),
    ("two images", (2, 1, 3, 3), 1),
]


@pytest.mark.exercise(3)
@pytest.mark.parametrize("case", SMALL, ids=lambda case: case[0])
def test_crop_of_small_images(case):
    what, shape, pixels = case
    images = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    for seed in range(8):
        check_crop(augment.crop(images, pixels, generator(seed)), images, pixels, what)


@pytest.mark.exercise(3)
def test_every_image_has_its_own_offsets():
    images = photos(60)
    moves = check_crop(augment.crop(images, 2, generator()), images, 2, "60 images")
    assert len(set(moves)) > 1, f"all 60 images are moved by {moves[0]}, should each have offsets of its own"
    for axis, name in enumerate(("rows", "columns")):
        seen = {move[axis] for move in moves}
        assert len(seen) > 1, f"all 60 images have the offset {seen.pop()} of {name}, should each have its own"
    alike = sum(down == right for down, right in moves)
    assert alike < 60, "rows and columns have one offset, should have two: every image moves along a diagonal"


@pytest.mark.exercise(3)
@pytest.mark.parametrize("pixels", [1, 2])
def test_crop_reaches_every_window_equally_often(pixels):
    images = photos(1).expand(900, -1, -1, -1)
    cut, allowed = augment.crop(images, pixels, generator()), windows(images[:1], pixels)
    counts = {move: int((cut == window).flatten(1).all(dim=1).sum()) for move, window in allowed.items()}
    for axis, name in enumerate(("rows", "columns")):
        never = {*range(-pixels, pixels + 1)} - {move[axis] for move, count in counts.items() if count}
        assert not never, (
            f"of 900 crops by {pixels} none moves {name} by {min(never)}, should reach all from {-pixels} to {pixels}"
        )
    rarest, share = min(counts, key=counts.get), 900 // len(counts)
    enough = counts[rarest] > share / 2
    assert enough, f"of 900 crops {counts[rarest]} move by {rarest}, should be about {share}, as all others"
    assert sum(counts.values()) == 900, f"{sum(counts.values())} of 900 crops are windows, should be all"


@pytest.mark.exercise(3)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("pixels", [1, 2, 4])
def test_crop_is_one_of_the_windows_of_the_padded_image(pixels, dtype):
    images = photos(60, dtype=dtype)
    check_crop(augment.crop(images, pixels, generator()), images, pixels, f"60 photographs, {pixels} pixels")


def test_crop_of_nothing_changes_nothing_and_draws_nothing():
    images = photos()
    assert augment.crop(images, 0, generator()) is images


@pytest.mark.exercise(3)
def test_crop_keeps_channels_last_and_follows_the_seed():
    images = photos()
    cut = augment.crop(images, 2, generator(3))
    again, other = augment.crop(images, 2, generator(3)), augment.crop(images, 2, generator(4))
    assert torch.equal(cut, again), "with one seed twice, two crops differ, should be equal: draw from `generator`"
    assert not torch.equal(cut, other), "with two seeds, the crops are equal, should differ: draw from `generator`"
    lasts = cut.is_contiguous(memory_format=torch.channels_last)
    assert lasts, (
        "the crop lies channels first, should lie channels_last: one indexing gives (B, H, W, C), then permute"
    )


# ---------------------------------------------------------------- cutout


def test_cutout_hides_one_square_with_its_centre_anywhere():
    images = photos(400).clamp(min=1)
    cut = augment.cutout(images, 4, generator=generator())
    hidden = (cut == 0).all(dim=1)  # (B, H, W)
    assert torch.equal(cut, images * ~hidden[:, None]), "what is not hidden stays as it is"
    rows, columns = hidden.any(dim=2), hidden.any(dim=1)
    assert torch.equal(hidden, rows[:, :, None] & columns[:, None, :]), "a rectangle"
    heights = rows.sum(dim=1)
    assert set(heights.tolist()) == {2, 3, 4}, "4 pixels; at an edge a part falls outside, at most half of it"
    assert hidden[:, 0, 0].any() and hidden[:, -1, -1].any(), "every corner can be hidden"
    assert abs((heights == 4).float().mean() - 5 / 8) < 0.08


def test_cutout_paints_in_the_given_colour():
    colour = torch.tensor([10, 20, 30], dtype=torch.uint8)
    cut = augment.cutout(photos(), 16, colour, generator())  # whole, where the centre is in the middle
    assert cut.dtype == torch.uint8
    assert (cut == colour[:, None, None]).all(dim=1).flatten(1).sum(dim=1).min() >= 16


# ---------------------------------------------------------------- exercise 4: mixup


@pytest.fixture
def three_quarters(monkeypatch):
    """mixup draws λ = 0.75."""
    monkeypatch.setattr(augment.np.random, "default_rng", lambda seed: SimpleNamespace(beta=lambda *_: 0.75))


def check_mixup(images, labels, classes, share, draws, what):
    """Images and targets are those of the definition, with the partners that mixup draws from generator(draws)."""
    came = images.clone()
    mixed, targets = augment.mixup(images, labels, classes, 1.0, generator(draws))
    partner = torch.randperm(len(images), generator=generator(draws))
    assert torch.equal(images, came), f"with {what}, the images that came in were changed, should stay: not in place"
    if mixed.shape != images.shape or targets.shape != (len(images), classes):
        shapes = f"{tuple(mixed.shape)} and {tuple(targets.shape)}, should be {tuple(images.shape)} and "
        raise AssertionError(f"with {what}, images and targets have the shapes {shapes}{len(images), classes}")
    assert mixed.dtype == images.dtype, f"with {what}, the images are {mixed.dtype}, should be {images.dtype} as before"
    own, other = images.float(), images[partner].float()
    exact = share * own + (1 - share) * other
    bytes_ = images.dtype == torch.uint8
    expected = exact.round() if bytes_ else exact
    slips = {
        "the partner has the share λ, should have 1 - λ": (1 - share) * own + share * other,
        "the partner is scaled by λ as well, should be the image as it came in": share * (own + (1 - share) * other),
        "bytes are cut off, should be rounded": exact.floor() if bytes_ else expected,
        "nothing is blended, should be": own,
    }
    if not torch.allclose(mixed.float(), expected, atol=1e-3):
        for slip, wrong in slips.items():
            wrong = wrong.round() if bytes_ else wrong
            assert not torch.allclose(mixed.float(), wrong, atol=1e-3), f"with {what}, {slip}"
    close(mixed.float(), expected, f"with {what}, a pixel")
    hot = F.one_hot(labels, classes).float()
    if not torch.allclose(targets, share * hot + (1 - share) * hot[partner], atol=1e-5):
        same, total = torch.allclose(targets, hot, atol=1e-5), targets.sum(dim=1)
        assert not same, f"with {what}, the targets are the labels alone, should be blended as the images are"
        swapped = torch.allclose(targets, (1 - share) * hot + share * hot[partner], atol=1e-5)
        assert not swapped, f"with {what}, the own label has 1 - λ, should have λ: the share that its image has"
        close(total, torch.ones(len(images)), f"with {what}, the sum of a row of targets")
        rest = targets - share * hot
        others = torch.allclose(rest.sort(dim=1).values[:, -1], torch.full((len(images),), 1 - share), atol=1e-4)
        assert not others, f"with {what}, a label is blended with another partner's, should be with its image's partner"
    close(targets, share * hot + (1 - share) * hot[partner], f"with {what}, the target")


# what, the pixels of as many images, their type
FEW = [
    ("two images of one pixel", (200, 100), torch.float32),
    ("four images", (200, 100, 40, 0), torch.float32),
    ("two images of bytes", (200, 100), torch.uint8),
    ("bytes to be rounded", (201, 100), torch.uint8),
]


@pytest.mark.exercise(4)
@pytest.mark.parametrize("case", FEW, ids=lambda case: case[0])
def test_mixup_of_few_pixels(case, three_quarters):
    what, values, dtype = case
    images = torch.tensor(values, dtype=dtype)[:, None, None, None]
    check_mixup(images, torch.arange(len(values)), len(values) + 1, 0.75, 1, what)  # of two each is the other's partner


@pytest.mark.exercise(4)
@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
def test_mixup_of_photographs(dtype):
    images, labels = photos(12, dtype=dtype), torch.arange(12) % 5
    draws = generator(2)  # the very draws that mixup makes
    torch.randperm(12, generator=draws)
    share = float(np.random.default_rng(int(torch.randint(2**31, (), generator=draws))).beta(1.0, 1.0))
    assert 0.1 < share < 0.9
    check_mixup(images, labels, 6, share, 2, f"twelve photographs, {str(dtype).removeprefix('torch.')}")


def test_mixups_share_is_drawn_from_beta():
    labels, images = torch.tensor([0, 1]), photos(2)
    draws = generator()
    shares = torch.tensor([augment.mixup(images, labels, 2, 0.2, draws)[1].max().item() for _ in range(600)])
    # λ or 1 - λ, whichever is larger (or 1 where an image met itself, which happens in half of the batches of two).
    met = shares[shares < 1]
    reference = torch.distributions.Beta(0.2, 0.2).sample((20_000,))
    reference = torch.maximum(reference, 1 - reference)
    assert abs(met.median() - reference.median()) < 0.04 and abs(met.mean() - reference.mean()) < 0.03


# ---------------------------------------------------------------- RandAugment


def test_rand_augment_gives_each_group_its_own_operations():
    pytest.importorskip("torchvision")
    images = photos(1, side=16).expand(12, -1, -1, -1).contiguous()
    state = torch.get_rng_state()
    each = augment.rand_augment(images, 2, 9, 1, generator())
    assert torch.equal(torch.get_rng_state(), state), "dropout must not see other numbers because of it"
    assert each.shape == images.shape and each.dtype == torch.uint8
    assert len({one.numpy().tobytes() for one in each}) > 6
    grouped = augment.rand_augment(images, 2, 9, 6, generator())
    assert len({one.numpy().tobytes() for one in grouped}) == 2
    assert torch.equal(each, augment.rand_augment(images, 2, 9, 1, generator()))
    assert not torch.equal(each, augment.rand_augment(images, 2, 9, 1, generator(5)))
