"""A vision transformer, to be read from top to bottom: patches, tokens, blocks, network, and where it looks.

References
    A. Dosovitskiy et al., "An image is worth 16x16 words", arXiv:2010.11929: "the paper", sections 3.1 and 3.2
    A. Vaswani et al., "Attention is all you need", arXiv:1706.03762: the encoder that it is
    L. Beyer, X. Zhai, A. Kolesnikov, "Better plain ViT baselines for ImageNet-1k", arXiv:2205.01580: mean pooling
    S. Abnar, W. Zuidema, "Quantifying attention flow in transformers", arXiv:2005.00928: attention rollout
    G. Huang et al., "Deep networks with stochastic depth", arXiv:1603.09382

Images are (N, C, H, W), normalised. Parts bear the names that timm gives them, so its checkpoints load as they are; how
torchvision's and transformers' load, weights.py says. Token 0 is CLS, then come the patches, row by row.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shared.errors import CourseError

Images = Float[Tensor, "N C H W"]
Patches = Float[Tensor, "N patches pixels"]
Embedded = Float[Tensor, "N patches D"]
Tokens = Float[Tensor, "N tokens D"]
Heads = Float[Tensor, "N heads tokens head_dim"]
Attention = Float[Tensor, "N heads tokens tokens"]  # of each query (row) over all keys; a row adds up to 1
Flow = Float[Tensor, "N tokens tokens"]
Grid = tuple[int, int]
POOLS = ("cls", "mean")


@dataclass(frozen=True)
class ViTConfig:
    """What a vision transformer looks like. The default is ViT-B/16, 86 M parameters."""

    side: int = 224  # pixels, height and width of the images that the positions were learned for
    patch: int = 16  # pixels, height and width of a patch
    channels: int = 3
    width: int = 768  # D in the paper: numbers of a token
    depth: int = 12  # blocks
    heads: int = 12
    mlp_width: int = 3072
    classes: int = 1000  # 0: no head, the pooled token comes out
    pool: str = "cls"  # what the head sees: the CLS token, or the mean of the patches' tokens
    dropout: float = 0.0
    drop_path: float = 0.0  # of the last block: in training so many images pass it by; the first is never passed by
    eps: float = 1e-6  # of the layer norms

    def __post_init__(self) -> None:
        limits = (
            ("patch", 1 <= self.patch <= self.side, "from 1 to the side of an image"),
            ("side", self.side % self.patch == 0, f"a multiple of --patch {self.patch}"),
            ("width", self.width >= 1 and self.width % self.heads == 0, f"a multiple of --heads {self.heads}"),
            ("depth", self.depth >= 1, "at least 1"),
            ("pool", self.pool in POOLS, f"one of {', '.join(POOLS)}"),
            ("dropout", 0 <= self.dropout < 1, "from 0 to below 1"),
            ("drop_path", 0 <= self.drop_path < 1, "from 0 to below 1"),
        )
        for name, right, must in limits:
            if not right:
                raise CourseError(f"--{name.replace('_', '-')} {getattr(self, name)}: must be {must}.")

    @property
    def grid(self) -> Grid:
        """How many patches, downwards and sideways, the positions were learned for."""
        return self.side // self.patch, self.side // self.patch


# ---------------------------------------------------------------- from an image to tokens


def patchify(images: Images, patch: int) -> Patches:
    """Cuts images into patches, row by row from the top left, each flattened: channel, then row, then column."""
    N, C, H, W = images.shape
    if H % patch or W % patch:
        raise CourseError(f"an image of {H} x {W} pixels cannot be cut into patches of {patch} x {patch}.")
    # exercise 1: an image as a sequence of patches
    # images (N, C, H, W) -> (N, H / patch * W / patch, C * patch * patch): each row a patch, with its pixels in the
    # order channel, row, column; the patches from left to right, then down. H and W are multiples of patch.
    # hint: first give each patch dimensions of its own: unfold along the height, then along the width, or a reshape
    # that splits H and W in two. What makes up one patch has to stand last before you flatten it: change places by
    # permute, for a reshape only counts the numbers off anew.
    windows = images.unfold(2, patch, patch).unfold(3, patch, patch)  # (N, C, h, w, patch, patch)
    windows = windows.permute(0, 2, 3, 1, 4, 5)  # (N, h, w, C, patch, patch)
    return windows.reshape(N, (H // patch) * (W // patch), C * patch * patch)
    # end of exercise 1


class PatchEmbed(nn.Module):
    """Equation 1 of the paper: a patch's pixels times one matrix, the same for every patch.

    That is a convolution whose kernels lie side by side. Its weight has a convolution's shape, (D, C, patch, patch), so
    that published weights fit; `convolve` takes it as one.
    """

    def __init__(self, channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, patch, stride=patch)
        fan_in = channels * patch * patch
        nn.init.trunc_normal_(self.proj.weight, std=math.sqrt(1 / fan_in))
        nn.init.zeros_(self.proj.bias)

    def forward(self, images: Images) -> Embedded:
        weight, bias = self.proj.weight, self.proj.bias
        # exercise 1: patches times a matrix
        # images (N, C, H, W) -> (N, patches, D): patchify's rows times weight (D, C, patch, patch), plus bias (D,).
        # hint: flattened behind its first dimension, the weight is a matrix (D, C * patch * patch), its numbers in the
        # order of patchify's. F.linear multiplies by a matrix transposed. The weight's shape tells the patch's side.
        return F.linear(patchify(images, weight.shape[-1]), weight.flatten(1), bias)
        # end of exercise 1

    def convolve(self, images: Images) -> Embedded:
        """The same by torch's convolution: (N, D, h, w), its places put in a row."""
        return self.proj(images).flatten(2).transpose(1, 2)  # (N, D, h, w) -> (N, D, patches) -> (N, patches, D)


def with_cls(patches: Embedded, cls: Float[Tensor, "1 1 D"], positions: Float[Tensor, "1 tokens D"]) -> Tokens:
    """The sequence that the encoder reads: CLS in front of the patches, and to each token its position added."""
    # exercise 2: CLS and positions
    # patches (N, patches, D), cls (1, 1, D), positions (1, 1 + patches, D) -> (N, 1 + patches, D): every image gets the
    # same CLS as its token 0; then each token has its own row of positions added, CLS too.
    # hint: expand repeats CLS for every image without copying, and torch.cat along the dimension of tokens puts it in
    # front. Only then add: there is a position more than patches, and one row of them for all images is enough.
    tokens = torch.cat([cls.expand(len(patches), -1, -1), patches], dim=1)
    return tokens + positions
    # end of exercise 2


def resize_positions(
    positions: Float[Tensor, "1 tokens D"], old: Grid, new: Grid
) -> Float[Tensor, "1 more_tokens D"]:  # fmt: skip
    """Positions learned for a grid of patches, brought to another: a larger image has more patches (section 3.2).

    They are a small picture of D channels, resized as any picture is. CLS stands nowhere, and keeps its own.
    """
    if old == new:
        return positions
    # exercise 3: positions for another size
    # positions (1, 1 + h * w, D) of the grid `old` = (h, w) -> (1, 1 + h' * w', D) of the grid `new` = (h', w'). Row 0,
    # CLS's, stays as it is; the others are interpolated bicubically as a picture of h x w pixels.
    # hint: F.interpolate resizes pictures whose channels stand in front: so lay the patches' rows out on the grid, and
    # permute, for a reshape alone would mix places and channels up. And back again. A position belongs to the middle
    # of its patch: the corners are not aligned.
    picture = positions[:, 1:].reshape(1, *old, -1).permute(0, 3, 1, 2)  # (1, h, w, D) -> (1, D, h, w)
    picture = F.interpolate(picture, size=new, mode="bicubic", align_corners=False)
    rows = picture.permute(0, 2, 3, 1).reshape(1, new[0] * new[1], -1)  # (1, D, h', w') -> (1, h' * w', D)
    return torch.cat([positions[:, :1], rows], dim=1)
    # end of exercise 3


# ---------------------------------------------------------------- the encoder


def attend(q: Heads, k: Heads, v: Heads) -> tuple[Heads, Attention]:
    """softmax(q kᵀ / sqrt(head_dim)) v, written out, and the softmax itself."""
    weights = (q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])).softmax(dim=-1)  # (N, heads, tokens, tokens)
    return weights @ v, weights


class SelfAttention(nn.Module):
    """Every token looks at all tokens, in several heads at once."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.heads, self.dropout = config.heads, config.dropout
        self.qkv = nn.Linear(config.width, 3 * config.width)  # one product in place of three
        self.proj = nn.Linear(config.width, config.width)

    def split(self, x: Tokens) -> tuple[Heads, Heads, Heads]:
        """Queries, keys and values of each head."""
        N, T, D = x.shape
        three = self.qkv(x).chunk(3, dim=-1)  # each (N, T, D)
        shape = (N, T, self.heads, D // self.heads)
        q, k, v = (one.view(shape).transpose(1, 2) for one in three)  # (N, heads, T, head_dim)
        return q, k, v

    def forward(self, x: Tokens, fused: bool = True) -> Tokens:
        """fused: by torch's scaled_dot_product_attention, which keeps no (tokens, tokens) weights."""
        q, k, v = self.split(x)
        mixed = F.scaled_dot_product_attention(q, k, v) if fused else attend(q, k, v)[0]
        mixed = mixed.transpose(1, 2).reshape(x.shape)  # heads side by side again
        return F.dropout(self.proj(mixed), self.dropout, self.training)


class Mlp(nn.Module):
    """What each token does by itself: wide, GELU, narrow."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.width, config.mlp_width)
        self.fc2 = nn.Linear(config.mlp_width, config.width)
        self.dropout = config.dropout

    def forward(self, x: Tokens) -> Tokens:
        return F.dropout(self.fc2(F.gelu(self.fc1(x))), self.dropout, self.training)


def drop_path(x: Tokens, p: float, training: bool) -> Tokens:
    """In training, zeroes a branch for each image with probability p, and scales it by 1 / (1 - p) for the others."""
    if not training or p == 0:
        return x
    keep = torch.rand(len(x), 1, 1, device=x.device) >= p
    return x * keep / (1 - p)


class Block(nn.Module):
    """Attention and MLP, a norm before each (pre-norm) and a residual connection around each: equations 2 and 3."""

    def __init__(self, config: ViTConfig, drop: float = 0.0) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.width, config.eps)
        self.attn = SelfAttention(config)
        self.norm2 = nn.LayerNorm(config.width, config.eps)
        self.mlp = Mlp(config)
        self.drop = drop

    def forward(self, x: Tokens, fused: bool = True) -> Tokens:
        x = x + drop_path(self.attn(self.norm1(x), fused), self.drop, self.training)
        return x + drop_path(self.mlp(self.norm2(x)), self.drop, self.training)


class ViT(nn.Module):
    """The network: patches to tokens, tokens through the blocks, one vector an image, logits."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        self.config = config
        rows, columns = config.grid
        self.patch_embed = PatchEmbed(config.channels, config.width, config.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.width))
        # As loud as a patch, whose numbers have a deviation of about 1. With the usual 0.02 nobody hears for hundreds
        # of steps where a patch lies, and a small training is over before.
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + rows * columns, config.width).normal_())
        last = max(1, config.depth - 1)
        self.blocks = nn.ModuleList(Block(config, config.drop_path * i / last) for i in range(config.depth))
        self.norm = nn.LayerNorm(config.width, config.eps)
        self.blocks.apply(initialise)
        self.head = nn.Linear(config.width, config.classes) if config.classes else nn.Identity()
        if config.classes:  # at first every class is as likely, so a network with a new head loses nothing by it
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def grid(self, images: Images) -> Grid:
        """How many patches these images have, downwards and sideways."""
        return images.shape[2] // self.config.patch, images.shape[3] // self.config.patch

    def tokens(self, images: Images) -> Tokens:
        """What the first block reads. Images of another size than the config's get their positions interpolated."""
        patches = self.patch_embed(images)
        positions = resize_positions(self.pos_embed, self.config.grid, self.grid(images))
        return F.dropout(with_cls(patches, self.cls_token, positions), self.config.dropout, self.training)

    def through(self, images: Images, fused: bool = True) -> Tokens:
        """The tokens behind the last block."""
        x = self.tokens(images)
        for block in self.blocks:
            x = block(x, fused)
        return x

    def encode(self, images: Images, fused: bool = True) -> Tokens:
        """The same, normalised."""
        return self.norm(self.through(images, fused))

    def features(self, images: Images, fused: bool = True) -> Float[Tensor, "N D"]:
        """One vector an image: what the head sees."""
        if self.config.pool == "cls":
            return self.norm(self.through(images, fused)[:, 0])  # a norm looks at one token, so the others need none
        return self.encode(images, fused)[:, 1:].mean(dim=1)

    def forward(self, images: Images, fused: bool = True) -> Float[Tensor, "N classes"]:
        """The logits; without a head the features."""
        return self.head(self.features(images, fused))

    @torch.no_grad()
    def attentions(self, images: Images) -> list:
        """Who looks at whom: of each block the weights of each head, (N, heads, tokens, tokens)."""
        x, found = self.tokens(images), []
        for block in self.blocks:
            q, k, _ = block.attn.split(block.norm1(x))
            found.append(attend(q, k, k)[1])
            x = block(x)
        return found


def initialise(module: nn.Module) -> None:
    """As the paper's code does: Xavier's uniform weights, no biases to begin with."""
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)


# ---------------------------------------------------------------- where it looks


def rollout(attentions: list) -> Flow:
    """How much of each patch is in each token behind the last block, if blocks did nothing but mix (Abnar and Zuidema).

    attentions: of each block, first to last, (N, heads, tokens, tokens). Every row of the result adds up to 1.
    """
    # exercise 4: attention rollout
    # attentions, a list of (N, heads, tokens, tokens) from the first block to the last -> (N, tokens, tokens): row i
    # says of which of the tokens at the start token i is made at the end, as shares of 1.
    # hint: of each block take the mean over the heads, and half of it with half the identity, for the residual
    # connection keeps a token what it was. Then multiply them all: what comes out of a block is its matrix times what
    # the block before has made, so the later one stands on the left.
    mixed = [(a.mean(dim=1) + torch.eye(a.shape[-1]).to(a)) / 2 for a in attentions]  # each (N, tokens, tokens)
    flow = mixed[0]
    for later in mixed[1:]:
        flow = later @ flow
    return flow
    # end of exercise 4


def on_grid(seen: Float[Tensor, "N *rest tokens tokens"], grid: Grid, pool: str) -> Float[Tensor, "N *rest h w"]:
    """What the pooled vector sees, as a picture of patches: of a rollout, or of each head of a block's attention.

    With CLS pooling that is CLS's row, with mean pooling the mean of the patches' rows; CLS as a key is left out.
    """
    rows = seen[..., 0, 1:] if pool == "cls" else seen[..., 1:, 1:].mean(dim=-2)  # (N, …, patches)
    return rows.reshape(*rows.shape[:-1], *grid)


def flops(config: ViTConfig) -> int:
    """What one image costs forward, in additions and multiplications; of matrix products only."""
    D, patches = config.width, config.grid[0] * config.grid[1]
    T = patches + 1
    block = T * (4 * D * D + 2 * D * config.mlp_width) + 2 * T * T * D  # qkv and proj, the MLP, q kᵀ and weights v
    return 2 * (patches * config.channels * config.patch**2 * D + config.depth * block + D * config.classes)


def count_parameters(model: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
