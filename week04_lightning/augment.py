"""Data augmentation on whole batches: the same photograph, never twice the same numbers.

References
    T. DeVries, G. Taylor, "Improved regularization of convolutional neural networks with cutout", arXiv:1708.04552
    H. Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018, arXiv:1710.09412
    E. Cubuk et al., "RandAugment: practical automated data augmentation", arXiv:1909.13719
    K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498, section 3.6: alternating flip

A transform that is called once for each image spends its time between the calls. Here each works on a whole batch
(B, C, H, W) at once, on the CPU as on a GPU, bytes or decimals. All draw from a torch.Generator on the CPU (torch's own
where None is given): the same seed gives the same images on any device. The random flip is week02_cnn.data.flipped.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

Images = Shaped[Tensor, "B C H W"]
Labels = Int[Tensor, " B"]


def coins(indices: Int[Tensor, " B"], seed: int) -> Bool[Tensor, " B"]:
    """A coin for every image, from its number in the training set: a hash, so that it falls the same each time."""
    mixed = (indices + 1) * (2 * seed + 0x9E3779B1)  # any odd number will do, and each seed has its own
    mixed = ((mixed ^ (mixed >> 15)) * 0x85EBCA6B) & 0xFFFFFFFF
    return ((mixed ^ (mixed >> 13)) * 0xC2B2AE35 >> 17) & 1 == 1


def alternating_flip(images: Images, indices: Int[Tensor, " B"], epoch: int, seed: int = 0) -> Images:
    """In the first epoch a random half of the images is mirrored, and from then on always those that last were not.

    With random flips half of the images look the same in two epochs, and a quarter of them in all of three: nothing new
    is seen. Here two epochs show every image both ways (Jordan 2024, section 3.6).

    Args:
        images: a batch.
        indices: where in the training set they stand.
        epoch: counted from 0.
        seed: decides which half is first.
    """
    mirrored = coins(indices, seed) ^ (epoch % 2 == 1)
    return torch.where(mirrored.to(images.device)[:, None, None, None], images.flip(3), images)


def reflected(positions: Int[Tensor, "..."], length: int) -> Int[Tensor, "..."]:
    """Positions outside 0 … length - 1 thrown back at the edge: -1 becomes 1, length becomes length - 2."""
    last = length - 1
    return last - (last - positions.abs()).abs()


def crop(images: Images, pixels: int, generator: torch.Generator | None = None) -> Images:
    """Each image moved by its own random offset of up to `pixels` each way; what comes in is a reflection.

    The same as padding by reflection and cutting a window of the old size at a random place: one of
    (2 * pixels + 1)² windows for each image.

    Args:
        images: a batch.
        pixels: below H and W.
        generator: on the CPU, what the offsets are drawn from.
    """
    B, _, H, W = images.shape
    if pixels == 0:
        return images
    # exercise 3: random crop of a whole batch
    # images (B, C, H, W) -> the same shape, dtype and device. Every image has two whole offsets of its own from -pixels
    # to pixels, all equally likely, drawn from `generator`: row i of its crop is row i + offset of the image, columns
    # likewise, with reflected() (yours to use) where that is outside. No loop; in memory channels_last.
    # hint: draw an offset of rows and one of columns for each image; torch.randint leaves its upper end out. Row
    # numbers plus offsets, reflected, say which rows (B, H) an image is made of; columns (B, W) likewise. One indexing
    # takes them all, with three arrays that broadcast to (B, H, W): the image's number, its rows, its columns. All
    # channels come with it, last. (reflected() works on the CPU, the images may be elsewhere.)
    offsets = torch.randint(-pixels, pixels + 1, (2, B, 1), generator=generator)
    rows = reflected(torch.arange(H) + offsets[0], H).to(images.device)
    columns = reflected(torch.arange(W) + offsets[1], W).to(images.device)
    b = torch.arange(B, device=images.device)[:, None, None]
    cut = images[b, :, rows[:, :, None], columns[:, None, :]]  # (B, H, W, C)
    return cut.permute(0, 3, 1, 2)  # (B, C, H, W), channels_last in memory
    # end of exercise 3


def cutout(
    images: Images, size: int, fill: Shaped[Tensor, " C"] | None = None, generator: torch.Generator | None = None
) -> Images:
    """A square of size x size hidden in each image, its centre anywhere, so that a part of it may fall outside.

    Args:
        images: a batch.
        size: in pixels, at least 1.
        fill: the colour, 0 where None. The mean colour of the training images is what becomes 0 by normalising.
        generator: on the CPU, what the centres are drawn from.
    """
    B, C, H, W = images.shape
    top = torch.randint(0, H, (B, 1), generator=generator) - size // 2
    left = torch.randint(0, W, (B, 1), generator=generator) - size // 2
    rows = (torch.arange(H) >= top) & (torch.arange(H) < top + size)  # (B, H)
    columns = (torch.arange(W) >= left) & (torch.arange(W) < left + size)  # (B, W)
    hidden = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)  # (B, 1, H, W)
    colour = torch.zeros(C, dtype=images.dtype) if fill is None else fill.to(images.dtype)
    return torch.where(hidden, colour.to(images.device)[:, None, None], images)


def mixup(
    images: Images, labels: Labels, classes: int, alpha: float, generator: torch.Generator | None = None
) -> tuple[Images, Float[Tensor, "B classes"]]:
    """Every image blended with another one of the batch, and its label with the other's (Zhang et al., equation 1).

    Args:
        images: a batch; bytes are rounded to bytes again.
        labels: their classes, 0 to classes - 1.
        classes: how many there are.
        alpha: the share λ is drawn from Beta(alpha, alpha), once for the batch: small alpha, λ near 0 or 1.
        generator: on the CPU, what the partners and λ are drawn from.

    Returns:
        The blended images, and soft targets, each row of which sums to 1.
    """
    B = len(images)
    partner = torch.randperm(B, generator=generator).to(images.device)
    seed = int(torch.randint(2**31, (), generator=generator))
    share = float(np.random.default_rng(seed).beta(alpha, alpha))  # torch's own Beta takes no generator
    # exercise 4: mixup
    # images (B, C, H, W), bytes or decimals; labels (B,); share, one number; partner (B,), which image each is blended
    # with -> the blended images, of the shape and dtype they had, and their targets (B, classes), float: `share` of the
    # one and 1 - share of the other, in both alike. Bytes are rounded. What came in stays as it is.
    # hint: blend in decimals, and with the partner as it came in. A cast to bytes cuts off, so round first. Labels are
    # blended as rows: 1 at the label, 0 elsewhere.
    blended = share * images.float() + (1 - share) * images[partner].float()
    if images.dtype == torch.uint8:
        blended = blended.round()
    targets = F.one_hot(labels, classes).float()  # (B, classes)
    return blended.to(images.dtype), share * targets + (1 - share) * targets[partner]
    # end of exercise 4


def rand_augment(
    images: UInt8[Tensor, "B 3 H W"],
    operations: int = 2,
    magnitude: int = 9,
    group: int = 1,
    generator: torch.Generator | None = None,
) -> UInt8[Tensor, "B 3 H W"]:
    """A few operations for each image out of fourteen (rotate, shear, posterise, …), by torchvision.

    Each image has its own, so this is a loop, and by far the slowest augmentation here. With `group` above 1 that many
    images of a batch share their operations: so many times faster, and less varied.

    Args:
        images: a batch of bytes.
        operations: how many are applied to an image, one after the other.
        magnitude: how strong they are, 0 to 30.
        group: how many images share their operations.
        generator: on the CPU; decides the seed for torchvision, which draws from torch's own generator.
    """
    from torchvision.transforms import v2

    transform = v2.RandAugment(operations, magnitude)
    seed = int(torch.randint(2**31, (), generator=generator))
    with torch.random.fork_rng(devices=[]):  # or dropout would see other numbers because of it
        torch.default_generator.manual_seed(seed)  # the CPU's alone
        return torch.cat([transform(some) for some in images.split(group)])
