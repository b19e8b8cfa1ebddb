"""Week 4's networks against torchvision and their papers, and the LightningModule against what it stands for.

The tests marked `exercise(K)` are what `./course check 4` holds a learner's piece K to.
"""

from collections import OrderedDict
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from programs import Lazily, close, gradients
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

# From the simplest on: a red and a green pixel, whose logits are (2, 0) and (0, 0). Then eight images of noise.
KINDS = [("labels", 0.0), ("soft targets", 0.0), ("labels", 0.2), ("soft targets", 0.2)]


def pixels():
    """Two images of one pixel, and a classifier to which they are (1, 0, 0) and (0, 1, 0)."""
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        net[1].weight.copy_(torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]]))
        net[1].bias.zero_()
    images = torch.tensor([[255, 0, 0], [0, 255, 0]], dtype=torch.uint8)[:, :, None, None]
    return net, images, np.zeros(3, np.float32), np.ones(3, np.float32)


@pytest.mark.exercise(1)
@pytest.mark.parametrize(("kind", "smoothing"), KINDS)
@pytest.mark.parametrize("size", ["two pixels", "noise"])
def test_training_step_is_the_cross_entropy(size, kind, smoothing):
    module, images, classes = classifier(label_smoothing=smoothing), photos(), 5
    if size == "two pixels":
        net, images, mean, std = pixels()
        classes, module = 2, model.Classifier(net, train.Config(label_smoothing=smoothing), mean, std)
    labels = torch.arange(len(images)) % classes
    hard = F.one_hot(labels, classes).float()
    soft = 0.75 * hard + 0.25 * hard.roll(1, 0) if kind == "soft targets" else hard
    targets = soft if kind == "soft targets" else labels
    smooth = soft * (1 - smoothing) + smoothing / classes
    logits = module(images)
    expected = -(smooth * logits.log_softmax(dim=1)).sum(dim=1).mean()
    loss = module.training_step((images, targets), 0)
    calls = sum(weight.grad is not None for weight in module.parameters())
    assert not calls, "the weights have gradients already, should have none yet: backward() is Lightning's"
    what = f"the loss of {kind}, smoothed by {smoothing:g}," if smoothing else f"the loss of {kind}"
    if not torch.allclose(loss, expected):
        raw = module.net(images.float())
        slips = {
            "wants logits: cross_entropy takes the softmax itself": F.cross_entropy(logits.softmax(1), smooth),
            "wants smoothed targets: label_smoothing": F.cross_entropy(logits, targets),
            "wants self.cfg.label_smoothing": F.cross_entropy(logits, targets, label_smoothing=0.1),
            "wants the mean over the batch, not the sum": expected * len(images),
            "wants the targets as they are, without argmax": F.cross_entropy(logits, soft.argmax(dim=1)),
            "wants normalised images: self(images), not self.net": F.cross_entropy(raw, smooth),
        }
        for slip, wrong in slips.items():
            assert not torch.allclose(loss, wrong), f"{what} is {loss:.4f}, should be {expected:.4f}: it {slip}"
    close(loss, expected, what)
    assert loss.requires_grad, (
        "the loss is cut off from the weights, should know them: no .item(), no .detach(), no torch.no_grad()"
    )
    weights = dict(module.net.named_parameters())
    slopes = torch.autograd.grad(expected, weights.values())
    for name, slope, found in zip(weights, slopes, torch.autograd.grad(loss, weights.values()), strict=True):
        close(found, slope, f"with {kind}, the gradient of {name}")


@pytest.mark.exercise(1)
def test_training_step_sees_normalised_images():
    module, images = classifier(), photos()
    seen = []
    module.net.register_forward_hook(lambda net, inputs, out: seen.append(inputs[0]))
    module.training_step((images, torch.arange(8) % 5), 0)
    assert len(seen) == 1, f"the network is asked {len(seen)} times for a batch, should be asked once: self(images)"
    expected = (images / 255 - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]
    close(seen[0], expected, "with self(images), what the network sees")
    lasts = seen[0].is_contiguous(memory_format=torch.channels_last)
    assert lasts, "the network sees images channels first, should see them channels_last: self(images) does it"


# ---------------------------------------------------------------- exercise 2: optimiser and schedule


# --optimizer, --schedule, and steps, of which 6 are two epochs of three steps each
RECIPES = [
    ("sgd", "constant", 4),
    ("sgd", "linear", 4),
    ("muon", "constant", 4),
    ("muon", "linear", 40),
    ("sgd", "cosine", 6),
]


def recipe(name, shape, steps):
    """A recipe, what configure_optimizers makes of it, and the optimiser that it should be."""
    net = nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 4, 3), flat=nn.Flatten(), head=nn.Linear(36, 5)))
    length = {"max_steps": steps} if steps != 6 else {"epochs": 2}
    cfg = train.Config(optimizer=name, schedule=shape, lr=0.3, head_lr=0.6, warmup=0.25, **length)
    module = model.Classifier(net, cfg, MEAN, STD)
    module._trainer = SimpleNamespace(datamodule=SimpleNamespace(steps_per_epoch=3))
    return cfg, module.configure_optimizers(), optim.make_optimizer(net.named_parameters(), cfg)


@pytest.mark.exercise(2)
@pytest.mark.parametrize("case", RECIPES, ids=lambda case: "-".join(map(str, case)))
def test_configure_optimizers(case):
    _, made, expected = recipe(*case)
    lacks = {"optimizer", "lr_scheduler"} - made.keys()
    assert not lacks, f"it returns {sorted(made)}, should return both an optimizer and a lr_scheduler"
    optimizer, schedule = made["optimizer"], made["lr_scheduler"]
    kind, wanted = type(optimizer).__name__, type(expected).__name__
    right = kind == wanted
    assert right, f"with --optimizer {case[0]} the optimiser is {kind}, should be {wanted}: make_optimizer knows"
    groups, wanted = ([group.get("name") for group in one.param_groups] for one in (optimizer, expected))
    right = groups == wanted
    assert right, f"its groups are {groups}, should be {wanted}: make_optimizer(self.net.named_parameters(), …)"
    for found, group in zip(optimizer.param_groups, expected.param_groups, strict=True):
        right = [id(p) for p in found["params"]] == [id(p) for p in group["params"]]
        assert right, f"the group {group['name']} has other parameters, should have those of self.net"
        for key in group.keys() - {"params", "lr"}:
            right = found.get(key) == group[key]
            assert right, f"in the group {group['name']} {key} is {found.get(key)}, should be {group[key]}"
    right = isinstance(schedule, dict) and schedule.get("scheduler")
    assert right, f"lr_scheduler is a {type(schedule).__name__}, should be a dict: {{'scheduler': …, 'interval': …}}"
    interval = schedule.get("interval")
    assert interval == "step", f"the interval is {interval}, should be 'step': the schedule would move once an epoch"
    right = getattr(schedule["scheduler"], "optimizer", None) is optimizer
    assert right, "the scheduler moves another optimiser, should move the one that is returned"


@pytest.mark.exercise(2)
@pytest.mark.parametrize("case", RECIPES, ids=lambda case: "-".join(map(str, case)))
def test_the_rates_of_every_step(case):
    cfg, made, expected = recipe(*case)
    _, shape, steps = case
    epochs, peaks = cfg.epochs, [group["lr"] for group in expected.param_groups]
    right, hasty = optim.schedule(shape, steps, 0.25), optim.schedule(shape, epochs, 0.25)
    for step in range(steps):
        found = [group["lr"] for group in made["optimizer"].param_groups]
        should, other = ([peak * rate(step) for peak in peaks] for rate in (right, hasty))
        why = f": that is for self.cfg.epochs, {epochs} steps, not for self.steps" * np.allclose(found, other)
        told = f"the rates of step {step} of {steps} are {np.round(found, 4)}, should be {np.round(should, 4)}{why}"
        assert np.allclose(found, should, rtol=1e-6, atol=0), told
        made["optimizer"].step()
        made["lr_scheduler"]["scheduler"].step()


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
