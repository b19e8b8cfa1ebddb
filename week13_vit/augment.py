"""Augmentation that a radiologist would let pass: a patient who stands a little otherwise, another exposure.

No mirror: the heart lies on one side (and where it does not, that is a finding). Everything is done for a whole batch.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Pictures = Float[Tensor, "B C H W"]


def posed(
    images: Pictures, strength: float, degrees: float = 10.0, shift: float = 0.08, scale: float = 0.12
) -> Pictures:
    """Each picture turned, moved and resized by its own random amounts, up to these times `strength`, its edge repeated
    where nothing is."""
    B, device = len(images), images.device
    draw = (torch.rand(4, B) * 2 - 1) * strength
    angle, size = draw[0] * math.radians(degrees), torch.exp(-draw[1] * scale)
    cos, sin = torch.cos(angle) * size, torch.sin(angle) * size
    # rows of the matrix that says where in the old picture each place of the new one comes from
    theta = torch.stack(
        [torch.stack([cos, -sin, draw[2] * 2 * shift], 1), torch.stack([sin, cos, draw[3] * 2 * shift], 1)], 1
    )
    grid = F.affine_grid(theta.to(device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def exposed(images: Pictures, strength: float) -> Pictures:
    """Decimals 0 to 1 with another exposure each: gamma, contrast and brightness."""
    gamma, contrast, brightness = ((torch.rand(3, len(images), 1, 1, 1) * 2 - 1) * strength).to(images.device)
    bent = images.clamp(1e-4, 1) ** torch.exp(0.4 * gamma)
    middle = bent.mean(dim=(1, 2, 3), keepdim=True)
    return ((bent - middle) * torch.exp(0.3 * contrast) + middle + 0.12 * brightness).clamp(0, 1)


def augmented(images: Pictures, strength: float, mirror: bool = False) -> Pictures:
    """Pictures as decimals 0 to 1 in, others of the same people out. strength 0 changes nothing."""
    if mirror:
        heads = (torch.rand(len(images)) < 0.5).to(images.device)
        images = torch.where(heads[:, None, None, None], images.flip(3), images)
    return exposed(posed(images, strength), strength) if strength else images
