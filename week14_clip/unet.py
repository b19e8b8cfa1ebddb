"""The network that finds the noise in a picture: a U of convolutions, with self-attention and cross-attention.

References
    O. Ronneberger et al., "U-Net", arXiv:1505.04597: down, up, and across
    J. Ho et al., "Denoising diffusion probabilistic models", arXiv:2006.11239, appendix B: one for pictures, with time
    R. Rombach et al., "High-resolution image synthesis with latent diffusion models", arXiv:2112.10752, section 3.3:
        the text comes in by cross-attention
    D. Podell et al., "SDXL", arXiv:2307.01952, section 2.1: a text's one vector, added to the time's
    A. Vaswani et al., "Attention is all you need", arXiv:1706.03762, sections 3.2 and 3.5
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from shared.errors import CourseError

Maps = Float[Tensor, "N C H W"]
TextTokens = Float[Tensor, "N tokens text_dim"]


@dataclass(frozen=True)
class UNetConfig:
    """What a U-Net looks like."""

    side: int = 32  # pixels, height and width
    channels: int = 3
    width: int = 32  # channels of the first level; each level below has twice as many
    levels: int = 3  # at each but the last the side is halved
    heads: int = 4
    text_dim: int = 384  # of a text's token vectors; 0: no texts
    attention: int = 16  # floors of at most so many places in height and width have attention

    def __post_init__(self) -> None:
        limits = (
            ("levels", 1 <= self.levels <= 6, "from 1 to 6"),
            ("width", self.width >= 8 and self.width % 8 == 0, "a multiple of 8, the groups of the norm"),
            ("heads", self.heads >= 1 and self.width % self.heads == 0, f"a divisor of the width, {self.width}"),
            ("side", self.side >= 1 and self.side % 2 ** (self.levels - 1) == 0, f"a multiple of "
             f"{2 ** (max(self.levels, 1) - 1)}, as it is halved {self.levels - 1} times"),
        )  # fmt: skip
        for name, right, must in limits:
            if not right:
                raise CourseError(f"--{name} {getattr(self, name)}: must be {must}.")


def time_features(t: Int[Tensor, " N"], dim: int) -> Float[Tensor, "N dim"]:
    """The time as sines and cosines, of waves from 6 steps to 60,000 long: near times look alike, far ones do not."""
    rates = torch.exp(-math.log(10_000) * torch.arange(dim // 2, device=t.device) / (dim // 2))
    angles = t[:, None].float() * rates  # (N, dim / 2)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class ResBlock(nn.Module):
    """Two 3 x 3 convolutions beside a path that leaves x as it is; the time scales and shifts what is in between."""

    def __init__(self, channels_in: int, channels: int, time_dim: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels_in)
        self.conv1 = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.time = nn.Linear(time_dim, 2 * channels)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)  # a block begins by changing nothing
        nn.init.zeros_(self.conv2.bias)
        self.across = nn.Conv2d(channels_in, channels, 1) if channels_in != channels else nn.Identity()

    def forward(self, x: Maps, time: Float[Tensor, "N time_dim"]) -> Float[Tensor, "N C_out H W"]:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.time(F.silu(time))[:, :, None, None].chunk(2, dim=1)  # (N, C_out, 1, 1) each
        h = self.conv2(F.silu(self.norm2(h) * (1 + scale) + shift))
        return self.across(x) + h


class Attention(nn.Module):
    """Every place of a picture looks at every other (self-attention), or at the tokens of a text (cross-attention)."""

    def __init__(self, channels: int, heads: int, text_dim: int = 0) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(8, channels)
        self.queries = nn.Linear(channels, channels, bias=False)
        self.keys_values = nn.Linear(text_dim or channels, 2 * channels, bias=False)
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Maps, texts: TextTokens | None = None, there: Bool[Tensor, "N tokens"] | None = None) -> Maps:
        """x, and what it has found added to it. `there` says which tokens are no padding."""
        N, C, H, W = x.shape
        places = self.norm(x).reshape(N, C, H * W).transpose(1, 2)  # (N, H * W, C)
        seen = places if texts is None else texts
        keys, values = self.keys_values(seen).chunk(2, dim=-1)  # (N, seen, C) each
        queries, keys, values = (
            y.reshape(N, -1, self.heads, C // self.heads).transpose(1, 2)  # (N, heads, places or seen, head_dim)
            for y in (self.queries(places), keys, values)
        )
        mask = None if there is None else there[:, None, None, :]  # (N, 1, 1, tokens)
        found = F.scaled_dot_product_attention(queries, keys, values, mask)  # (N, heads, H * W, head_dim)
        found = self.out(found.transpose(1, 2).reshape(N, H * W, C))
        return x + found.transpose(1, 2).reshape(N, C, H, W)


class Level(nn.Module):
    """One floor of the U, on one side of it: a ResBlock, and where it `looks`, both kinds of attention."""

    def __init__(self, channels_in: int, channels: int, time_dim: int, config: UNetConfig, looks: bool) -> None:
        super().__init__()
        self.block = ResBlock(channels_in, channels, time_dim)
        self.to_itself = Attention(channels, config.heads) if looks else None
        self.to_text = Attention(channels, config.heads, config.text_dim) if looks and config.text_dim else None

    def forward(
        self, x: Maps, time: Float[Tensor, "N time_dim"], texts: TextTokens | None,
        there: Bool[Tensor, "N tokens"] | None,
    ) -> Float[Tensor, "N C_out H W"]:  # fmt: skip
        x = self.block(x, time)
        if self.to_itself is not None:
            x = self.to_itself(x)
        if self.to_text is not None and texts is not None:
            x = self.to_text(x, texts, there)
        return x


class UNet(nn.Module):
    """From a noisy picture, its time and a text to the noise in it.

    Attention costs the square of the places, so large floors have none. A token of zeros is padding; of a text there
    must be one token at least that is none. Their mean is added to what tells the time, as in SDXL: it reaches every
    block at once. Without a text (None) both ways are passed over.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * 2**level for level in range(config.levels)]
        looks = [config.side / 2**level <= config.attention for level in range(config.levels)]
        time_dim = 4 * config.width
        self.time = nn.Sequential(nn.Linear(config.width, time_dim), nn.SiLU(), nn.Linear(time_dim, time_dim))
        self.text = nn.Linear(config.text_dim, time_dim) if config.text_dim else None
        self.first = nn.Conv2d(config.channels, config.width, 3, padding=1)
        self.down = nn.ModuleList(
            Level(widths[max(0, n - 1)], width, time_dim, config, looks[n]) for n, width in enumerate(widths)
        )
        self.middle = Level(widths[-1], widths[-1], time_dim, config, looks=True)
        self.up = nn.ModuleList(
            Level(width + widths[min(n + 1, config.levels - 1)], width, time_dim, config, looks[n])
            for n, width in reversed(list(enumerate(widths)))
        )
        self.norm = nn.GroupNorm(8, config.width)
        self.last = nn.Conv2d(config.width, config.channels, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Maps, t: Int[Tensor, " N"], texts: TextTokens | None = None) -> Maps:
        """The noise in x (N, channels, side, side) at times t (N,), which is to show the texts."""
        time = self.time(time_features(t, self.config.width))
        there = None if texts is None else texts.ne(0).any(-1)  # (N, tokens)
        if self.text is not None and texts is not None:
            time = time + self.text(texts.sum(1) / there.sum(1, keepdim=True))
        x, floors = self.first(x), []
        for level, floor in enumerate(self.down):
            x = floor(F.avg_pool2d(x, 2) if level else x, time, texts, there)
            floors.append(x)
        x = self.middle(x, time, texts, there)
        for floor in self.up:
            beside = floors.pop()
            if x.shape[-1] != beside.shape[-1]:
                x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = floor(torch.cat([x, beside], dim=1), time, texts, there)
        return self.last(F.silu(self.norm(x)))
