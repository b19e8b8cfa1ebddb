"""Masked autoencoding: a transformer learns what radiographs look like before anybody says what is on them.

References
    K. He et al., "Masked autoencoders are scalable vision learners", arXiv:2111.06377: "the paper", section 3

Most patches of a picture are hidden. The encoder, which is the ViT that is fine-tuned later, sees the others alone, and
so has less to compute; a small decoder, which is thrown away afterwards, gets one mask token in every empty place and
paints what is missing. That needs no labels, and who paints a lung must know where in a chest it lies.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from week13_vit.model import Block, Images, Patches, Tokens, ViT, ViTConfig, initialise, patchify

Places = Int[Tensor, "N visible"]


def draw_visible(count: int, patches: int, hidden: float, generator: torch.Generator | None = None) -> Places:
    """Which patches each of `count` pictures shows, drawn for each by itself: all but the share `hidden`, in order."""
    kept = max(1, round(patches * (1 - hidden)))
    return torch.rand(count, patches, generator=generator).argsort(dim=1)[:, :kept].sort(dim=1).values


class MaskedAutoencoder(nn.Module):
    """The ViT as encoder, and a decoder of a few narrower blocks."""

    def __init__(self, encoder: ViT, width: int, depth: int = 2, heads: int = 4) -> None:
        super().__init__()
        config, tokens = encoder.config, encoder.pos_embed.shape[1]
        shape = ViTConfig(config.side, config.patch, config.channels, width, depth, heads, 4 * width)
        self.encoder = encoder
        self.embed = nn.Linear(config.width, width)
        self.mask_token = nn.Parameter(torch.empty(1, 1, width).normal_(std=0.02))
        self.pos_embed = nn.Parameter(torch.empty(1, tokens, width).normal_())
        self.blocks = nn.ModuleList(Block(shape) for _ in range(depth))
        self.blocks.apply(initialise)
        self.norm = nn.LayerNorm(width, shape.eps)
        self.paint = nn.Linear(width, config.channels * config.patch**2)

    def encode(self, images: Images, visible: Places) -> Tokens:
        """CLS and the visible patches behind the encoder's last block, which has seen no others."""
        tokens = self.encoder.tokens(images)  # (N, 1 + patches, D), each with its position
        places = torch.cat([torch.zeros_like(visible[:, :1]), visible + 1], dim=1)  # CLS is token 0
        x = tokens.gather(1, places[..., None].expand(-1, -1, tokens.shape[-1]))  # (N, 1 + visible, D)
        for block in self.encoder.blocks:
            x = block(x)
        return self.encoder.norm(x)

    def forward(self, images: Images, visible: Places) -> Patches:
        """Every patch as the decoder paints it."""
        seen = self.embed(self.encode(images, visible))  # (N, 1 + visible, width)
        N, _, width = seen.shape
        empty = self.mask_token.expand(N, self.pos_embed.shape[1] - 1, width)  # (N, patches, width)
        patches = empty.scatter(1, visible[..., None].expand(-1, -1, width), seen[:, 1:])
        x = torch.cat([seen[:, :1], patches], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.paint(self.norm(x[:, 1:]))

    def loss(self, images: Images, visible: Places) -> Float[Tensor, ""]:
        """The mean squared error of the hidden patches; who paints every patch in the mean grey has about 1.

        The paper also paints each patch less its own mean, and found that better for photographs. Not so here: how
        bright a patch of lung is says whether it is ill.
        """
        target = patchify(images, self.encoder.config.patch)
        each = (self(images, visible) - target).square().mean(dim=-1)  # (N, patches)
        hidden = torch.ones_like(each).scatter(1, visible, 0.0)
        return (each * hidden).sum() / hidden.sum()


@torch.no_grad()
def pasted(model: MaskedAutoencoder, images: Images, visible: Places) -> tuple[Images, Images]:
    """What the encoder was shown, the rest 0; and the same with the rest painted."""
    patch = model.encoder.config.patch
    patches = patchify(images, patch)
    shown = torch.zeros_like(patches[..., :1]).scatter(1, visible[..., None], 1.0)  # (N, patches, 1)
    both = patches * shown, torch.where(shown > 0, patches, model(images, visible))
    return put_together(both[0], images, patch), put_together(both[1], images, patch)


def put_together(patches: Patches, images: Images, patch: int) -> Images:
    """patchify backwards: patches where they lay in pictures of the shape of `images`."""
    N, C, H, W = images.shape
    cut = patches.reshape(N, H // patch, W // patch, C, patch, patch)
    return cut.permute(0, 3, 1, 4, 2, 5).reshape(N, C, H, W)  # (N, C, h, patch, w, patch)
