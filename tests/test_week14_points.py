"""Week 14's diffusion in the plane: it learns its drawings, hears a wish, and shows every step."""

import pytest
import torch
from programs import assert_picture, config, refused

from week14_clip import diffusion, points


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    out = tmp_path_factory.mktemp("points")
    flags = ("--preset", "smoke", "--steps", 250, "--noise-steps", 100, "--sampling-steps", 20, "--out", out)
    return points.main(config(points, *flags)), out


def test_noise_becomes_the_drawing_that_was_wished_for(learned):
    found, _ = learned
    assert found["wish"] < 0.3 * found["noise"]
    assert found["wish"] < 0.5 * found["no_wish"]  # without a wish three of four points end in another drawing


def test_pictures(learned):
    _, out = learned
    assert_picture(out / "points.png")
    assert_picture(out / "paths.png")


def test_drawings_lie_in_their_quarters():
    kinds = torch.arange(400) % 4
    drawn = points.draw(kinds, torch.Generator().manual_seed(0))
    for kind, (right, up) in enumerate(((False, True), (True, True), (False, False), (True, False))):
        x, y = drawn[kinds == kind].T
        assert ((x > 0) == right).float().mean() > 0.95 and ((y > 0) == up).float().mean() > 0.95
    assert drawn.abs().max() < 2.2
    assert points.miss(drawn, kinds) < 0.05


def test_every_step_is_there():
    noise, kinds = diffusion.Noise("cosine", 50, clip=False), torch.arange(8) % 4
    cfg = config(points, "--noise-steps", 50, "--sampling-steps", 10)
    steps = points.path(diffusion.Average(points.Denoiser(16)), cfg, noise, kinds, 1.0)
    assert [t for t, _ in steps] == [50, 40, 35, 30, 25, 20, 15, 10, 5, 0, -5]
    again = points.path(diffusion.Average(points.Denoiser(16)), cfg, noise, kinds, 1.0)
    assert torch.equal(steps[0][1], again[0][1])


def test_more_steps_back_than_there_are():
    line = "--sampling-steps 40: must be at most --noise-steps 20."
    assert refused(points.main, config(points, "--noise-steps", 20)) == line
