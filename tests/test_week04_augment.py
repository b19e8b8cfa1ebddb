"""Week 4's augmentation: what each transform may do to a photograph, and that it does it to each one differently.

The tests marked `exercise(K)` are what `./course check 4` holds a learner's piece K to.
"""

import pytest
import torch
import torch.nn.functional as F

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


def windows(images, pixels):
    """All (2 * pixels + 1)² windows, cut by torch from images padded by reflection."""
    padded, side = F.pad(images.float(), (pixels,) * 4, mode="reflect").to(images.dtype), images.shape[2]
    moves = range(2 * pixels + 1)
    return {(i, j): padded[:, :, i : i + side, j : j + side] for i in moves for j in moves}


@pytest.mark.exercise(3)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("pixels", [1, 2, 4])
def test_crop_is_one_of_the_windows_of_the_padded_image(pixels, dtype):
    images = photos(60, dtype=dtype)
    cut, allowed = augment.crop(images, pixels, generator()), windows(images, pixels)
    if cut.shape != images.shape:
        raise AssertionError(f"the crop has the shape {tuple(cut.shape)}, should be {tuple(images.shape)}")
    assert cut.dtype == dtype, f"the crop of {dtype} images is {cut.dtype}"
    for i, one in enumerate(cut):
        assert any(torch.equal(one, window[i]) for window in allowed.values()), (
            "a cropped image is no window of the image padded by reflection: has each its own rows and columns?"
        )


@pytest.mark.exercise(3)
def test_crop_reaches_every_window_and_each_image_has_its_own():
    images = photos(1).expand(900, -1, -1, -1)
    cut, allowed = augment.crop(images, 1, generator()), windows(images[:1], 1)
    counts = {move: int((cut == window).flatten(1).all(dim=1).sum()) for move, window in allowed.items()}
    missing = [move for move, count in counts.items() if not count]
    assert not missing, f"never cut, of 900 times: the windows {missing}. Is the highest offset drawn, too?"
    assert sum(counts.values()) == 900 and min(counts.values()) > 60, "all windows must be equally likely"


def test_crop_of_nothing_changes_nothing_and_draws_nothing():
    images = photos()
    assert augment.crop(images, 0, generator()) is images


@pytest.mark.exercise(3)
def test_crop_keeps_channels_last_and_follows_the_seed():
    images = photos()
    cut = augment.crop(images, 2, generator(3))
    assert torch.equal(cut, augment.crop(images, 2, generator(3))), "the same generator must give the same crop"
    assert not torch.equal(cut, augment.crop(images, 2, generator(4))), "draw the offsets from `generator`"
    assert cut.is_contiguous(memory_format=torch.channels_last), "one indexing gives (B, H, W, C): permute its result"


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


@pytest.mark.exercise(4)
def test_mixup_blends_images_and_labels_by_the_same_share():
    images, labels = photos(12, dtype=torch.float32), torch.arange(12) % 5
    mixed, targets = augment.mixup(images, labels, 5, 1.0, generator(2))
    if targets.shape != (12, 5):
        raise AssertionError(f"targets have the shape {tuple(targets.shape)}, should be (12, 5): one-hot, then blended")
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(12), msg="each row of the targets must sum to 1")
    draws = generator(2)  # the very draws that mixup makes
    partner = torch.randperm(12, generator=draws)
    own = targets.gather(1, labels[:, None])[:, 0]
    other = labels[partner] != labels
    share = own[other][0].item()
    assert 0 < share < 1
    torch.testing.assert_close(own[other], torch.full((int(other.sum()),), share), msg="one share for the whole batch")
    torch.testing.assert_close(
        mixed, share * images + (1 - share) * images[partner], msg="images and targets must be blended alike"
    )
    expected = share * F.one_hot(labels, 5) + (1 - share) * F.one_hot(labels[partner], 5)
    torch.testing.assert_close(targets, expected, msg="the other part of a target is its partner's")


@pytest.mark.exercise(4)
def test_mixup_of_bytes_is_rounded_bytes():
    images, labels = photos(12), torch.arange(12) % 5
    mixed, _ = augment.mixup(images, labels, 5, 1.0, generator(2))
    exact, _ = augment.mixup(images.float(), labels, 5, 1.0, generator(2))
    assert mixed.dtype == torch.uint8, f"bytes must stay bytes, these are {mixed.dtype}"
    assert (mixed.float() - exact).abs().max() <= 0.5, "round before turning decimals into bytes"


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
