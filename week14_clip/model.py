"""Pictures and texts in one space, to be read from top to bottom: the loss, the towers, and the two together.

References
    A. van den Oord et al., "Representation learning with contrastive predictive coding", arXiv:1807.03748, eq. 4:
        InfoNCE, to pick the right one out of N
    A. Radford et al., "Learning transferable visual models from natural language supervision" (CLIP),
        arXiv:2103.00020, section 2.3 and figure 3: both directions, the learned temperature and its bound
    X. Zhai et al., "LiT: Zero-shot transfer with locked-image text tuning", arXiv:2111.07991: published towers stay
        as they are, and only what joins them learns

A row of a batch is a pair: picture i and text i belong together, and every other text of the batch is taken to be
wrong for picture i. So no two rows may be right for each other: data.py sees to that.
"""

import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shared.errors import CourseError

Pictures = Float[Tensor, "N dim"]
Texts = Float[Tensor, "N dim"]
Scalar = Float[Tensor, ""]

LARGEST = math.log(100)  # CLIP's bound: above it a batch is learned by heart, and the loss jumps

# ---------------------------------------------------------------- the loss


def unit(x: Float[Tensor, "*N dim"]) -> Float[Tensor, "*N dim"]:
    """The vectors with length 1: then a dot product is the cosine of the angle between two. A vector of zeros stays."""
    return F.normalize(x, dim=-1)


def info_nce(pictures: Pictures, texts: Texts, scale: Scalar) -> Scalar:
    """How badly each picture tells its text from the others of the batch, and each text its picture.

    -1/2N times the sum over i of log softmax_j(scale * cos(picture i, text j)) at j = i, and of the same with the roles
    exchanged. Where nothing is known it is ln N; where all pairs are found with certainty it is 0.

    Args:
        pictures, texts: rows of unit length; row i of one belongs to row i of the other.
        scale: 1 / temperature: how much surer a given difference of angles makes.
    """
    # exercise 1: symmetric InfoNCE
    # pictures (N, dim) and texts (N, dim), rows of unit length, row i with row i; scale, a scalar -> the loss, a
    # scalar: the mean of the cross-entropy of the pictures that choose a text, and of the texts that choose a picture.
    # hint: one matrix of all similarities times scale, (N, N): row i has picture i against every text. The right answer
    # of row i is number i (torch.arange, on the same device). F.cross_entropy wants rows of logits and right answers;
    # the texts' questions are the columns, so turn the matrix over for the second. Then halve the sum.
    logits = scale * pictures @ texts.T  # (N, N)
    right = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2
    # end of exercise 1


def info_nce_across(
    pictures: Pictures, texts: Texts, scale: Scalar, local_loss: bool, gather_with_grad: bool
) -> Scalar:
    """The loss over the batches of all processes together: N of each of W processes make N * W wrong answers to avoid.

    Without a process group it is `info_nce`. Each process must have the same N. Both switches have no default, for they
    decide whether the gradients are right: averaged over the processes, as DDP does, they are those of one process with
    the whole batch where gather_with_grad is on, whichever local_loss is. Without it the vectors of the others are
    constants: with local_loss a picture is no longer pushed from the texts of other processes, and without it all
    gradients are W times too small.

    Args:
        pictures, texts, scale: this process's own, as in `info_nce`.
        local_loss: this process's own rows against everything (N x NW numbers) instead of everything (NW x NW).
        gather_with_grad: whether gradients flow back to the processes that the vectors came from.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return info_nce(pictures, texts, scale)
    all_pictures = gathered(pictures, gather_with_grad, own=not local_loss)
    all_texts = gathered(texts, gather_with_grad, own=not local_loss)
    if not local_loss:
        return info_nce(all_pictures, all_texts, scale)
    right = dist.get_rank() * len(pictures) + torch.arange(len(pictures), device=pictures.device)
    picks_text = F.cross_entropy(scale * pictures @ all_texts.T, right)  # logits (N, N * W)
    picks_picture = F.cross_entropy(scale * texts @ all_pictures.T, right)
    return (picks_text + picks_picture) / 2


def gathered(x: Float[Tensor, "N dim"], with_grad: bool, own: bool) -> Float[Tensor, "NW dim"]:
    """The rows of all processes, in their order, in each of them.

    Args:
        x: this process's own rows.
        with_grad: whether a gradient flows back to the process that a row is from.
        own: where it does not: whether this process's own rows still have theirs.
    """
    if with_grad:
        from torch.distributed.nn.functional import all_gather

        return torch.cat(all_gather(x))
    rows = [torch.empty_like(x) for _ in range(dist.get_world_size())]
    dist.all_gather(rows, x.detach().contiguous())
    if own:
        rows[dist.get_rank()] = x
    return torch.cat(rows)


# ---------------------------------------------------------------- the towers


@dataclass(frozen=True)
class DualEncoderConfig:
    """What a dual encoder looks like. The names are those of train.py's flags."""

    picture_dim: int = 1280  # of the features that come in: EfficientNet-Lite0's
    text_dim: int = 384  # MiniLM's
    dim: int = 256  # of the space that both meet in
    hidden: int = 0  # width of the layer between; 0: a tower is one projection
    dropout: float = 0.0  # of the features that come in
    temperature: float = 0.07  # at the start; it is learned

    def __post_init__(self) -> None:
        limits = (
            ("dim", self.dim >= 2, "at least 2"),
            ("hidden", self.hidden >= 0, "0 (none) or more"),
            ("dropout", 0 <= self.dropout < 1, "from 0 to below 1"),
            ("temperature", 0.01 <= self.temperature <= 10, "from 0.01 to 10"),
        )
        for name, right, must in limits:
            if not right:
                raise CourseError(f"--{name} {getattr(self, name)}: must be {must}.")


class Tower(nn.Module):
    """From the features of a published network to a vector in the common space: a projection, and what one adds to it.

    The mean and the spread of each feature over the training data are taken out first (`fit_scale`), for otherwise all
    pictures lie in one narrow cone, in which the temperature would have to tell them apart.
    """

    def __init__(self, features: int, dim: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("spread", torch.ones(features))
        self.dropout = nn.Dropout(dropout)
        self.projection = nn.Linear(features, dim, bias=False)
        self.more = nn.Sequential()
        if hidden:
            self.more = nn.Sequential(nn.Linear(features, hidden), nn.GELU(), nn.Linear(hidden, dim, bias=False))
            nn.init.zeros_(self.more[-1].weight)  # begins as the projection alone, and adds what that cannot

    @torch.no_grad()
    def fit_scale(self, x: Float[Tensor, "N features"]) -> None:
        """Takes mean and spread from training data."""
        self.mean.copy_(x.mean(0))
        self.spread.copy_(x.std(0, correction=0).clamp_min(1e-3))

    def forward(self, x: Float[Tensor, "N features"]) -> Float[Tensor, "N dim"]:
        """Vectors of unit length."""
        x = self.dropout((x - self.mean) / self.spread)
        return unit(self.projection(x) + self.more(x) if len(self.more) else self.projection(x))


class DualEncoder(nn.Module):
    """Two towers and a temperature. The features come from networks that stay as they are, so they are computed once.

    `log_scale` is what is learned: the logarithm keeps the scale above 0, and makes its steps proportional to it.
    """

    def __init__(self, config: DualEncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.picture_tower = Tower(config.picture_dim, config.dim, config.hidden, config.dropout)
        self.text_tower = Tower(config.text_dim, config.dim, config.hidden, config.dropout)
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / config.temperature)))

    @property
    def scale(self) -> Scalar:
        """1 / temperature."""
        return self.log_scale.exp()

    @torch.no_grad()
    def keep_in_bounds(self) -> None:
        """To be called after every step of the optimiser (CLIP, section 2.5). Clamped in `scale` instead, the gradient
        would be 0 beyond the bound, and there it would stay."""
        self.log_scale.clamp_(0, LARGEST)

    def forward(
        self, pictures: Float[Tensor, "N picture_dim"], texts: Float[Tensor, "N text_dim"]
    ) -> tuple[Pictures, Texts, Scalar]:
        """What `info_nce` takes: vectors of both, and the scale."""
        return self.picture_tower(pictures), self.text_tower(texts), self.scale


def count_parameters(model: nn.Module) -> int:
    """How many numbers a network learns."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
