"""Week 4's networks against torchvision and their papers, and the LightningModule against what it stands for.

The tests marked `exercise(K)` are what `./course check 4` holds a learner's piece K to.
"""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from programs import Lazily, gradients
from torch import nn

from shared.errors import CourseError
from week02_cnn.model import count_parameters
from week04_lightning import optim, train

model = Lazily("week04_lightning.model")
MEAN, STD = np.float32([0.5, 0.4, 0.45]), np.float32([0.25, 0.2, 0.3])


def noise(count=8, side=17, seed=0):
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def photos(count=8, side=17):
    return torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def classifier(net=None, **flags):
    """A Classifier of a tiny network, in evaluation mode."""
    torch.manual_seed(0)
    net = net or nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 5))
    return model.Classifier(net, train.Config(max_steps=40, **flags), MEAN, STD).eval()


# ---------------------------------------------------------------- networks


def test_resnet18_is_torchvisions_with_a_small_stem():
    torchvision = pytest.importorskip("torchvision")
    theirs = torchvision.models.resnet18(num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    ours = model.ResNet(18)
    assert count_parameters(ours) == count_parameters(theirs) == 11_173_962
    weights = theirs.state_dict().values()
    ours.load_state_dict(dict(zip(ours.state_dict(), weights, strict=True)))
    for training, side in ((False, 16), (True, 13)):
        found = []
        for network in (ours, theirs):
            network.train(training)
            params = list(network.parameters())
            found.append(gradients(lambda x, *_, network=network: network(x), noise(2, side).requires_grad_(), *params))
        (logits, slopes), (expected, should) = found
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        for slope, right in zip(slopes, should, strict=True):
            torch.testing.assert_close(slope, right, rtol=1e-3, atol=1e-4)


def test_resnet9_has_pages_shape():
    features = model.ResNet(9, width=4).features
    x, sides = noise(2, 32), []
    for layer in features:
        x = layer(x)
        sides.append(tuple(x.shape[1:]))
    assert sides[1] == (4, 32, 32) and sides[-1] == (32, 4, 4)
    convolutions = [m for m in features.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(convolutions) + 1 == 9, "nine layers with the last"
    assert round(count_parameters(model.ResNet(9)) / 1e6, 1) == 6.6


def test_speednet_has_airbenchs_size_and_starts_as_it_should():
    net = model.SpeedNet()
    assert count_parameters(net) == 24 + sum(
        9 * (fan_in * fan_out + fan_out * fan_out) + 2 * fan_out
        for fan_in, fan_out in ((24, 64), (64, 256), (256, 256))
    ) + 2560  # fmt: skip
    for block in net.blocks:
        for conv in block.convs:
            passed = conv.weight[: conv.in_channels]
            assert torch.equal(passed, nn.init.dirac_(torch.empty_like(passed))), (
                "the first filters pass their input on"
            )
    for norm in (m for m in net.modules() if isinstance(m, model.Norm)):
        assert not norm.weight.requires_grad and norm.bias.requires_grad and norm.weight.eq(1).all()
    assert not net.whiten.weight.requires_grad and net.whiten.bias.eq(0).all()


@pytest.mark.parametrize("deep", [False, True])
def test_speednet_learns_with_all_that_is_not_frozen(deep):
    net = model.SpeedNet((4, 8, 8), deep, classes=5, whiten=noise(50))
    logits = net(noise())
    assert logits.shape == (8, 5)
    F.cross_entropy(logits, torch.arange(8) % 5).backward()
    silent = [name for name, p in net.named_parameters() if p.requires_grad and not p.grad.abs().sum() > 0]
    assert silent == []


def test_whitened_patches_are_uncorrelated_and_equally_loud():
    images = noise(60, 12)
    images = images + 0.9 * images.roll(1, 3) + 0.5 * images.roll(1, 2) + images.mean(dim=1, keepdim=True)
    filters = model.whitening(images, eps=0.0)
    assert filters.shape == (24, 3, 2, 2)
    assert torch.equal(filters[:12], -filters[12:])
    out = F.conv2d(images, filters[:12]).permute(1, 0, 2, 3).reshape(12, -1)
    torch.testing.assert_close(out @ out.T / out.shape[1], torch.eye(12), rtol=1e-3, atol=1e-3)
    assert torch.equal(model.SpeedNet((4, 8, 8), whiten=images).whiten.weight, model.whitening(images))
    softened = F.conv2d(images, model.whitening(images, eps=0.1)[:12]).var()
    assert softened < out.var(), "eps keeps directions in which there is next to nothing from being blown up"


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ({"net": "resnet", "depth": 6}, "--depth 6: a residual network has 9 or 18 layers."),
        ({"net": "speednet", "depth": 7}, "--depth 7: a speednet has 6 convolutions, or 9."),
        ({"net": "speednet"}, "--side 16: a speednet halves the image three times, so it must be at least 17."),
        ({"depth": 2}, "--depth 2: must be at least 3, one convolution for each stage."),
    ],
)
def test_networks_that_cannot_be(flags, line):
    with pytest.raises(CourseError) as caught:
        model.make_net(train.Config(**flags), 10, 16)
    assert str(caught.value) == line


# ---------------------------------------------------------------- exercise 1: the training step


@pytest.mark.exercise(1)
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("soft", [False, True])
def test_training_step_is_the_cross_entropy_of_the_batch(soft, smoothing):
    module, images, labels = classifier(label_smoothing=smoothing), photos(), torch.arange(8) % 5
    hard = F.one_hot(labels, 5).float()
    targets = 0.7 * hard + 0.3 * hard.roll(1, 0) if soft else labels
    smooth = (targets if soft else hard) * (1 - smoothing) + smoothing / 5
    expected = -(smooth * module(images).log_softmax(dim=1)).sum(dim=1).mean()
    loss = module.training_step((images, targets), 0)
    if not isinstance(loss, torch.Tensor) or loss.ndim:
        raise AssertionError(f"training_step must return the loss, a tensor with one number, not {type(loss).__name__}")
    kind = "soft targets" if soft else "labels"
    logits = module(images)
    slips = {
        "cross_entropy takes logits, not probabilities: no softmax": F.cross_entropy(logits.softmax(1), smooth),
        "the labels are not smoothed: label_smoothing=self.cfg.label_smoothing": F.cross_entropy(logits, targets),
    }
    for told, wrong in slips.items():
        assert torch.allclose(loss, expected) or not torch.allclose(loss, wrong), told
    torch.testing.assert_close(
        loss, expected, msg=f"the loss of {kind} at label smoothing {smoothing} is {loss:.4f}, should be {expected:.4f}"
    )
    assert loss.requires_grad, "the loss must know where it came from: no .item(), no .detach()"
    assert all(p.grad is None for p in module.parameters()), "backward() is Lightning's"


@pytest.mark.exercise(1)
def test_training_step_sees_normalised_images():
    module, images = classifier(), photos()
    seen = []
    module.net.register_forward_hook(lambda net, inputs, out: seen.append(inputs[0]))
    module.training_step((images, torch.arange(8) % 5), 0)
    assert len(seen) == 1, "let the network see the batch once: self(images)"
    expected = (images / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    torch.testing.assert_close(seen[0], expected, msg="self(images) normalises; self.net(images) does not")
    assert seen[0].is_contiguous(memory_format=torch.channels_last)


# ---------------------------------------------------------------- exercise 2: optimiser and schedule


@pytest.mark.exercise(2)
@pytest.mark.parametrize("name", ["sgd", "muon"])
def test_configure_optimizers_gives_the_recipes_optimiser_and_moves_its_schedule_every_step(name):
    module = classifier(optimizer=name, lr=0.3, head_lr=0.6, schedule="linear", warmup=0.25)
    made = module.configure_optimizers()
    if not isinstance(made, dict) or made.keys() < {"optimizer", "lr_scheduler"}:
        raise AssertionError('return {"optimizer": …, "lr_scheduler": {"scheduler": …, "interval": "step"}}')
    expected = optim.make_optimizer(module.net.named_parameters(), module.cfg)
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]
    assert type(optimizer) is type(expected), "make_optimizer knows which optimiser --optimizer means"
    assert isinstance(schedule, dict) and schedule.get("interval") == "step", (
        'without "interval": "step" Lightning would move the schedule once an epoch'
    )
    peaks = [group["lr"] for group in expected.param_groups]
    for step in range(40):
        rates = [peak * optim.schedule("linear", 40, 0.25)(step) for peak in peaks]
        found = [group["lr"] for group in optimizer.param_groups]
        assert found == pytest.approx(rates), f"the learning rates of step {step} are {found}, should be {rates}"
        optimizer.step()
        schedule["scheduler"].step()


# ---------------------------------------------------------------- test-time augmentation


def test_moved_is_a_window_of_the_image_padded_by_reflection():
    images = photos(3)
    padded = F.pad(images.float(), (1, 1, 1, 1), mode="reflect").to(torch.uint8)
    assert torch.equal(model.moved(images, 1), padded[:, :, :-2, :-2])
    assert torch.equal(model.moved(images, -1), padded[:, :, 2:, 2:])


def test_time_augmentation_is_the_mean_of_what_the_views_get():
    images = photos()
    with torch.no_grad():
        plain, mirror, both = (classifier(tta=level) for level in (0, 1, 2))
        assert torch.equal(plain.predict(images), plain(images))
        torch.testing.assert_close(mirror.predict(images), (plain(images) + plain(images.flip(3))) / 2)
        torch.testing.assert_close(
            mirror.predict(images), mirror.predict(images.flip(3)), msg="left or right: the same"
        )
        up, down = (mirror.predict(model.moved(images, pixels)) for pixels in (-1, 1))
        torch.testing.assert_close(both.predict(images), (2 * mirror.predict(images) + up + down) / 4)


def test_logits_are_float32_under_autocast():
    module = classifier()
    with torch.autocast("cpu", torch.bfloat16):
        assert module(photos()).dtype == torch.float32
