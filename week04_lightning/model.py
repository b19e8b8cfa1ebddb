"""Two faster networks beside week 2's, and the training itself as a LightningModule; to be read from top to bottom.

References
    K. He et al., "Deep residual learning for image recognition", CVPR 2016, arXiv:1512.03385
    D. Page, "How to train your ResNet", 2018: the nine-layer one
    K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498: SpeedNet's shape (airbench)
    A. Krizhevsky, G. Hinton, 2009 (the CIFAR report, appendix): whitening the patches of an image
    W. Falcon et al., PyTorch Lightning: lightning.ai/docs/pytorch

In week 2's loop one wrote out: model to the device, train() and eval(), zero_grad, autocast, backward, step, schedule,
means over the batches, progress bar, checkpoint, resume. Lightning's Trainer does these, always the same way. What it
cannot know is left for Classifier to say: how a batch becomes a loss, what is measured, and which optimiser steps.
"""

from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from shared.errors import CourseError
from week02_cnn.data import normalise
from week02_cnn.model import ConvNet, ConvNetConfig
from week04_lightning.augment import reflected
from week04_lightning.optim import group_schedules, make_optimizer, whiten_steps

Maps = Float[Tensor, "B C H W"]
Images = UInt8[Tensor, "B 3 H W"]
Logits = Float[Tensor, "B classes"]


# ---------------------------------------------------------------- a residual network


def conv_norm(channels_in: int, channels: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution that keeps the side (stride 1) or halves it (stride 2), and batch norm."""
    conv = nn.Conv2d(channels_in, channels, size, stride, padding=size // 2, bias=False)
    nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    return nn.Sequential(conv, nn.BatchNorm2d(channels))


class Residual(nn.Module):
    """relu(F(x) + x): two convolutions that only have to learn what to change (He et al., figure 2).

    Through the sum the gradient comes down undiminished, however many blocks there are. Where the shape changes, x
    passes through a 1 x 1 convolution.
    """

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = conv_norm(channels_in, channels, stride=stride)
        self.conv2 = conv_norm(channels, channels)
        same = stride == 1 and channels_in == channels
        self.shortcut = nn.Identity() if same else conv_norm(channels_in, channels, size=1, stride=stride)

    def forward(self, x: Maps) -> Float[Tensor, "B C_out H_out W_out"]:
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


class ResNet(nn.Module):
    """A residual network for small images.

    depth 18: He et al.'s (table 1), with a 3 x 3 stem and no pooling in front of the first stage, as everyone has it
    for 32 x 32. depth 9: Page's: the image is halved by pooling, and two residual blocks are left.
    """

    def __init__(self, depth: int = 18, width: int = 64, dropout: float = 0.0, classes: int = 10) -> None:
        super().__init__()
        layers: list[nn.Module] = [conv_norm(3, width), nn.ReLU()]
        channels = width
        if depth == 18:
            for stage in range(4):
                layers.append(Residual(channels, width * 2**stage, stride=1 if stage == 0 else 2))
                channels = width * 2**stage
                layers.append(Residual(channels, channels))
        elif depth == 9:
            for residual in (True, False, True):
                layers += [conv_norm(channels, 2 * channels), nn.ReLU(), nn.MaxPool2d(2)]
                channels *= 2
                if residual:
                    layers.append(Residual(channels, channels))
        else:
            raise CourseError(f"--depth {depth}: a residual network has 9 or 18 layers.")
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Logits:
        x = self.features(x).mean(dim=(2, 3))  # (B, C)
        return self.head(self.dropout(x))


# ---------------------------------------------------------------- a network that is fast by design


def whitening(images: Float[Tensor, "N 3 H W"], size: int = 2, eps: float = 5e-4) -> Float[Tensor, "F 3 size size"]:
    """Filters after which the patches of the images are uncorrelated and of equal variance, and their negatives.

    Neighbouring pixels say nearly the same. The eigenvectors of the patches' covariance are the directions that do not,
    and divided by the root of its eigenvalue each is as loud as the others. What a first layer would learn in many
    steps is computed in one (Jordan, section 3.2). F = 2 * 3 * size².
    """
    patches = images.unfold(2, size, 1).unfold(3, size, 1)  # (N, 3, H - 1, W - 1, size, size)
    patches = patches.permute(0, 2, 3, 1, 4, 5).reshape(-1, 3 * size * size)
    covariance = patches.T @ patches / len(patches)
    values, vectors = torch.linalg.eigh(covariance)  # an eigenvector is a column
    filters = (vectors / (values + eps).sqrt()).T.flip(0)  # (3 * size², 3 * size²), the strongest first
    return torch.cat([filters, -filters]).reshape(-1, 3, size, size)


class Norm(nn.BatchNorm2d):
    """Batch norm with a bias and no scale, whose running averages forget quickly: a training of few steps."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-12, momentum=0.4)
        self.weight.requires_grad_(False)


class Block(nn.Module):
    """Convolution, max pool, norm, GELU; convolution, norm, GELU. With `deep` a third, and a residual around two."""

    def __init__(self, channels_in: int, channels: int, deep: bool) -> None:
        super().__init__()
        sizes = [channels_in, channels, channels] if deep else [channels_in, channels]
        self.convs = nn.ModuleList(nn.Conv2d(size, channels, 3, padding=1, bias=False) for size in sizes)
        self.norms = nn.ModuleList(Norm(channels) for _ in sizes)
        for conv in self.convs:  # at first as many channels as can simply pass their input on (dirac)
            nn.init.dirac_(conv.weight[: conv.in_channels])

    def forward(self, x: Maps) -> Float[Tensor, "B C_out H_out W_out"]:
        x = F.gelu(self.norms[0](F.max_pool2d(self.convs[0](x), 2)))
        kept = x
        x = self.norms[1](self.convs[1](x))
        if len(self.convs) == 3:
            x = self.norms[2](self.convs[2](F.gelu(x))) + kept
        return F.gelu(x)


class SpeedNet(nn.Module):
    """The shape of airbench (Jordan 2024): few, wide, early halved layers, and a first one that need not be learned.

    Args:
        widths: channels of the three blocks.
        deep: three convolutions in a block instead of two.
        whiten: normalised training images from which the first layer is computed; None leaves it to a checkpoint.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (64, 256, 256),
        deep: bool = False,
        dropout: float = 0.0,
        classes: int = 10,
        whiten: Float[Tensor, "N 3 H W"] | None = None,
    ) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad_(False)
        nn.init.zeros_(self.whiten.bias)
        if whiten is not None:
            self.whiten.weight.data = whitening(whiten)
        self.blocks = nn.Sequential(
            Block(24, widths[0], deep), Block(widths[0], widths[1], deep), Block(widths[1], widths[2], deep)
        )
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(widths[2], classes, bias=False)
        nn.init.normal_(self.head.weight)

    def forward(self, x: Float[Tensor, "B 3 H W"]) -> Logits:
        x = self.blocks(F.gelu(self.whiten(x)))  # 32 x 32: 31, then 15, 7, 3
        x = x.amax(dim=(2, 3))  # (B, C)
        return self.head(self.dropout(x)) / x.shape[1]  # small logits, so that training starts gently


def make_net(cfg: Any, classes: int, side: int, whiten: Float[Tensor, "N 3 H W"] | None = None) -> nn.Module:
    """The network of a recipe: --net convnet (week 2's), resnet or speednet.

    Raises:
        CourseError: a depth or a side that it cannot have.
    """
    if cfg.net == "convnet":
        return ConvNet(ConvNetConfig(cfg.depth, cfg.width, cfg.norm, cfg.dropout, "max", classes, side))
    if cfg.net == "resnet":
        return ResNet(cfg.depth, cfg.width, cfg.dropout, classes)
    if cfg.depth not in (6, 9):
        raise CourseError(f"--depth {cfg.depth}: a speednet has 6 convolutions, or 9.")
    if side < 17:
        raise CourseError(f"--side {side}: a speednet halves the image three times, so it must be at least 17.")
    return SpeedNet((cfg.width, 4 * cfg.width, 4 * cfg.width), cfg.depth == 9, cfg.dropout, classes, whiten)


# ---------------------------------------------------------------- the training


def moved(images: Images, pixels: int) -> Images:
    """The images moved by `pixels` down and to the right; what comes in is a reflection."""
    rows, columns = (reflected(torch.arange(side, device=images.device) - pixels, side) for side in images.shape[2:])
    return images[:, :, rows][:, :, :, columns]


class Classifier(L.LightningModule):
    """What the Trainer asks for: the loss of a batch, what to measure, and the optimiser with its schedule.

    Args:
        net: images, normalised (B, 3, H, W), to logits (B, classes).
        cfg: the recipe (train.Config): label_smoothing, tta, and what optim.make_optimizer reads.
        mean, std: of the training images' colours, as decimals.
    """

    def __init__(self, net: nn.Module, cfg: Any, mean: Float[np.ndarray, " 3"], std: Float[np.ndarray, " 3"]) -> None:
        super().__init__()
        self.net, self.cfg = net, cfg
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("std", torch.from_numpy(std))
        self.tested: list[Tensor] = []  # the logits of a test, batch by batch, for eval.py's tables
        self.to(memory_format=torch.channels_last)

    def forward(self, images: Images) -> Logits:
        """The logits of a batch of bytes."""
        inputs = normalise(images, self.mean, self.std).contiguous(memory_format=torch.channels_last)
        return self.net(inputs).float()

    def training_step(self, batch: tuple[Images, Tensor], batch_idx: int) -> Float[Tensor, ""]:
        """The loss of a batch. Backward pass, optimiser step and schedule are the Trainer's."""
        images, targets = batch
        # exercise 1: the training step
        # images (B, 3, H, W), bytes; targets: labels (B,), or after mixup soft targets (B, classes) -> the mean
        # cross-entropy of the batch, its targets smoothed by self.cfg.label_smoothing: a tensor with one number, which
        # knows the weights that it came from. No backward(), no optimiser, no .to(device), no .train(): Lightning's.
        # hint: self(images) normalises the bytes and gives the logits (B, classes). F.cross_entropy takes logits, not
        # probabilities; labels and soft targets alike; and label_smoothing=…. Return what it gives as it is.
        return F.cross_entropy(self(images), targets, label_smoothing=self.cfg.label_smoothing)
        # end of exercise 1

    def predict(self, images: Images) -> Logits:
        """Logits with test-time augmentation: the mean of what the network says to several views of an image.

        --tta 0: the image alone; 1: and its mirror image; 2: also both, moved by a pixel to two sides, half as much.
        """

        def mirrored(view: Images) -> Logits:
            return (self(view) + self(view.flip(3))) / 2

        if self.cfg.tta == 0:
            return self(images)
        if self.cfg.tta == 1:
            return mirrored(images)
        return mirrored(images) / 2 + (mirrored(moved(images, 1)) + mirrored(moved(images, -1))) / 4

    def measure(self, name: str, logits: Logits, labels: Int[Tensor, " B"]) -> None:
        """Logs loss and accuracy of a batch; Lightning takes the mean over the images of all batches."""
        right = (logits.argmax(dim=1) == labels).float().mean()
        scores = {f"{name}_loss": F.cross_entropy(logits, labels), f"{name}_accuracy": right}
        self.log_dict(scores, batch_size=len(labels), prog_bar=True)

    def validation_step(self, batch: tuple[Images, Int[Tensor, " B"]], batch_idx: int) -> None:
        images, labels = batch
        self.measure("val", self.predict(images), labels)

    def test_step(self, batch: tuple[Images, Int[Tensor, " B"]], batch_idx: int) -> None:
        images, labels = batch
        logits = self.predict(images)
        self.tested.append(logits.cpu())
        self.measure("test", logits, labels)

    @property
    def steps(self) -> int:
        """Of the whole training: what the schedule is fitted to.

        Lightning's own trainer.estimated_stepping_batches makes the loaders to find out, and that is too early: a run
        that goes on inside an epoch would begin the epoch anew.
        """
        return self.cfg.max_steps or self.cfg.epochs * self.trainer.datamodule.steps_per_epoch

    def configure_optimizers(self) -> dict[str, Any]:
        """The optimiser, and the schedule that Lightning is to move on after every step."""
        # exercise 2: optimiser and schedule
        # -> {"optimizer": …, "lr_scheduler": {"scheduler": …, "interval": …}}: the recipe's optimiser for self.net, and
        # a scheduler that leads the rate of each of its groups along the recipe's schedule over self.steps steps, moved
        # on by Lightning after every step. make_optimizer and group_schedules (optim.py) are yours to use.
        # hint: make_optimizer takes named parameters. group_schedules gives a list of functions from the step to the
        # share of the learning rate, one for each group; torch has a scheduler that takes such a list. Lightning moves
        # it on once an epoch, unless the interval is "step".
        optimizer = make_optimizer(self.net.named_parameters(), self.cfg)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, group_schedules(optimizer, self.cfg, self.steps))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
        # end of exercise 2

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Once the whitening layer's bias has had its epochs, nobody need compute its gradient: that saves time."""
        if self.cfg.net == "speednet" and self.cfg.whiten_epochs and self.trainer.world_size == 1:  # DDP wants them all
            self.net.whiten.bias.requires_grad_(self.global_step < whiten_steps(self.cfg, self.steps))

    def on_validation_start(self) -> None:
        """With several processes: batch norm's running averages are those of the first, as in what is saved."""
        if self.trainer.world_size > 1:
            for buffer in self.net.buffers():
                torch.distributed.broadcast(buffer, src=0)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """What shared.runs looks for beside all that Lightning saves: whose it is, and where it stands."""
        checkpoint |= {"week": 4, "step": self.global_step}
