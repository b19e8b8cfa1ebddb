"""What a painter is made of beside its U-Net: what stands for a picture, what stands for a text, and how it paints.

References
    R. Rombach et al., "High-resolution image synthesis with latent diffusion models" (Stable Diffusion),
        arXiv:2112.10752, section 3: diffusion in the few numbers of an autoencoder, not in pixels; a text's tokens
        come in by cross-attention
    K. Pearson, "On lines and planes of closest fit", Phil. Mag. 2 (11), 1901: principal components, the best
        autoencoder that is linear
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from shared import checkpoint, runs
from shared.device import Device
from shared.errors import CourseError
from shared.minilm import TEXT_DIM, Reader
from shared.seed import seed_everything
from shared.splits import Part, Splits
from week14_clip import data, diffusion
from week14_clip.diffusion import Noise
from week14_clip.features import in_batches
from week14_clip.picture import Picture
from week14_clip.unet import UNet, UNetConfig

PAINTER = "painter.safetensors"  # in a run of paint; model.safetensors is what train makes
LONGEST = 24  # tokens of a text that are heard
GROUPS = ("smileys", "people", "animals and nature", "food and drink", "travel and places", "activities", "objects")
Pixels = Float[Tensor, "N 3 side side"]
Latents = Float[Tensor, "N channels places places"]
Tokens = Float[Tensor, "N tokens text_dim"]


def captioned(name: str, groups: Sequence[str], limit: int) -> Splits[Picture]:
    """The pictures of --data: of the bundled ones those of some groups, in all four styles.

    Raises:
        CourseError: no such group; or what is wrong with the data.
    """
    if name != "sample":
        return data.load(name, limit)
    if unknown := next((one for one in groups if one not in GROUPS), None):
        raise CourseError(f"--groups {unknown!r}: must be of {', '.join(GROUPS)}.")
    group_of, parts = [one["group"] for one in data.concepts()], {}
    for part in ("train", "val", "test"):
        there = data.emoji(part, (*data.STYLES, data.NEW_STYLE)).items
        chosen = [one for one in there if group_of[one.place] in groups]
        rows = np.sort(np.random.default_rng(0).permutation(len(chosen))[: limit or None])
        parts[part] = Part(tuple(chosen[row] for row in rows))
    note = f"drawings of {', '.join(groups)} in four styles; the things of val are not trained on"
    return Splits("sample", **parts, own_test=True, notes=(note,))


def pixels(pictures: Iterable[Image.Image], side: int) -> UInt8[Tensor, "N 3 side side"]:
    """Pictures in one size, pressed into a square."""
    rows = [np.asarray(one.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)) for one in pictures]
    return torch.from_numpy(np.stack(rows)).permute(0, 3, 1, 2)  # (N, side, side, 3) -> (N, 3, side, side)


class Codec(nn.Module):
    """A picture in fewer numbers, and back: patches of `patch` x `patch` pixels, and of each the first components.

    Stable Diffusion has a network for this, trained for weeks. Of drawings the plain linear one loses little: a patch
    is a sum of the commonest patterns, and `channels` numbers say how much there is of each. Their spreads are brought
    closer together, by a square root: large ones (how bright) still show earlier on the way back than small ones (where
    the line runs), but not all that much.
    """

    def __init__(self, side: int, patch: int, channels: int) -> None:
        super().__init__()
        self.side, self.patch, self.channels = side, patch, channels
        self.register_buffer("mean", torch.zeros(3 * patch**2))
        self.register_buffer("patterns", torch.zeros(3 * patch**2, channels))
        self.register_buffer("scale", torch.ones(channels))

    @property
    def places(self) -> int:
        """Patches in a row."""
        return self.side // self.patch

    def patches(self, x: Pixels) -> Float[Tensor, "N places places numbers"]:
        N, _, p = len(x), self.places, self.patch
        cut = x.reshape(N, 3, self.places, p, self.places, p)  # (N, 3, places, patch, places, patch)
        return cut.permute(0, 2, 4, 1, 3, 5).flatten(3)  # (N, places, places, 3 * patch * patch)

    def fit(self, pictures: UInt8[Tensor, "N 3 side side"]) -> "Codec":
        """Finds the patterns: the eigenvectors of the patches' covariance with the largest eigenvalues."""
        rows = self.patches(pictures.float() / 127.5 - 1).flatten(0, 2).double()  # (N * places * places, numbers)
        mean = rows.mean(0)
        values, vectors = torch.linalg.eigh((rows - mean).T @ (rows - mean) / len(rows))  # from small to large
        self.mean.copy_(mean)
        self.patterns.copy_(vectors.flip(1)[:, : self.channels])
        spread = values.flip(0)[: self.channels].clamp_min(1e-8).sqrt()
        scale = spread.sqrt()
        self.scale.copy_(scale * (spread / scale).square().mean().sqrt())  # the numbers' mean square becomes 1
        return self

    def encode(self, pictures: UInt8[Tensor, "N 3 side side"]) -> Latents:
        numbers = (self.patches(pictures.float() / 127.5 - 1) - self.mean) @ self.patterns / self.scale
        return numbers.permute(
            0, 3, 1, 2
        ).contiguous()  # (N, places, places, channels) -> (N, channels, places, places)

    def decode(self, x: Latents) -> UInt8[Tensor, "N 3 side side"]:
        N, p = len(x), self.patch
        rows = (x.permute(0, 2, 3, 1) * self.scale) @ self.patterns.T + self.mean  # (N, places, places, numbers)
        cut = rows.reshape(N, self.places, self.places, 3, p, p).permute(0, 3, 1, 4, 2, 5)
        found = cut.reshape(N, 3, self.side, self.side)  # (N, 3, places, patch, places, patch) -> (N, 3, side, side)
        return ((found.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


class TokenReader(Reader):
    """MiniLM, of which each token's vector is wanted: cross-attention looks at words, not at a mean of them."""

    @torch.inference_mode()
    def tokens(self, texts: Sequence[str]) -> Tokens:
        """The vectors of each text's first LONGEST tokens, [CLS] and [SEP] among them; zeros stand for padding."""
        found = torch.zeros(len(texts), LONGEST, TEXT_DIM)
        for rows in in_batches(range(len(texts)), self.batch):
            tokens = self.tokenizer.encode_batch([texts[row] for row in rows])
            ids, mask = (torch.tensor([getattr(one, name) for one in tokens], device=self.device)[:, :LONGEST]
                         for name in ("ids", "attention_mask"))  # fmt: skip
            hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state  # (rows, tokens, 384)
            found[rows, : hidden.shape[1]] = (hidden * mask[:, :, None]).cpu()
        return found


class Painter(nn.Module):
    """From texts to pictures: a U-Net, the codec between its numbers and pixels, and what it was told of texts.

    `nothing` are the tokens of an empty text: what it is shown in place of one that is not to be heard.
    """

    def __init__(self, shape: UNetConfig, codec: Codec, noise: Noise, says: diffusion.Says) -> None:
        super().__init__()
        self.unet, self.codec, self.noise, self.says = UNet(shape), codec, noise, says
        self.register_buffer("mean", torch.zeros(shape.text_dim))
        self.register_buffer("spread", torch.ones(shape.text_dim))
        self.register_buffer("nothing", torch.zeros(LONGEST, shape.text_dim))

    def fit_texts(self, tokens: Tokens, nothing: Float[Tensor, "1 tokens text_dim"]) -> None:
        """Takes mean and spread of each number from the tokens (N, …) of training texts; `nothing` is (1, …)."""
        real = tokens[tokens.ne(0).any(-1)]  # (tokens of all texts, text_dim)
        self.mean.copy_(real.mean(0))
        self.spread.copy_(real.std(0).clamp_min(1e-3))
        self.nothing.copy_(self.heard(nothing)[0])

    def heard(self, tokens: Tokens) -> Tokens:
        """Tokens in the scale that the U-Net hears them in; padding stays 0."""
        return (tokens - self.mean) / self.spread * tokens.ne(0).any(-1, keepdim=True)

    def start(self, count: int, seed: int) -> Latents:
        """Noise to begin with: the same for the same seed, and its first rows whatever the count."""
        shape = (self.unet.config.channels, self.codec.places, self.codec.places)
        rows = [torch.randn(shape, generator=torch.Generator().manual_seed(1000 * seed + row)) for row in range(count)]
        return torch.stack(rows).to(self.mean.device)

    def denoiser(self, unet: nn.Module | None = None) -> diffusion.Denoising:
        """What finds the noise, by its own U-Net or by another one, as the average of one that is being trained."""
        return diffusion.Denoising(unet or self.unet, self.noise, self.says)

    def paint(
        self, texts: Tokens, start: Latents, weight: float, steps: int, unet: nn.Module | None = None, size: int = 128
    ) -> UInt8[Tensor, "N 3 side side"]:
        """A picture for each text from the noise beside it, on the CPU.

        Args:
            texts: as `heard` gives them.
            start: noise.
            weight: of guidance; 0: the texts are not heard.
            steps: of DDIM.
            unet: as of `denoiser`.
            size: how many at once.
        """
        denoise, found = self.denoiser(unet), []
        for some, noise in zip(texts.split(size), start.split(size), strict=True):
            nothing = self.nothing.expand_as(some)
            if weight in (0, 1):  # one of both is not needed
                some, nothing = (some if weight else nothing), None
            *_, (_, x) = diffusion.sample(denoise, self.noise, noise, steps, some, nothing, weight)
            found.append(self.codec.decode(x).cpu())
        return torch.cat(found)


def load(folder: str, device: Device) -> tuple[Path, dict[str, Any], Painter]:
    """(its folder, its config, the painter) of a run; of the newest one where no folder is given.

    Raises:
        CourseError: there is none, or it is of another week.
    """
    found = Path(folder) if folder else runs.newest(14, PAINTER, "paint")
    saved = checkpoint.load(found / PAINTER)
    try:
        painter = build(saved["config"])
        painter.load_state_dict(saved["painter"])
    except (KeyError, TypeError, RuntimeError):
        raise CourseError(
            f"{found / PAINTER} does not hold a painter of week 14. Train again, or use another run."
        ) from None
    return found, saved["config"], painter.to(device.name).eval()


def build(cfg: dict[str, Any]) -> Painter:
    """The painter of a config (paint.py's flags), with weights drawn from its seed."""
    seed_everything(cfg["seed"])
    side, patch, least = cfg["side"], cfg["patch"], 2 ** (cfg["levels"] - 1)
    if side % (patch * least):
        raise CourseError(
            f"--side {side}: must be a multiple of {patch * least}, for patches of {patch} pixels (--patch) whose rows "
            f"and columns are halved {cfg['levels'] - 1} times (--levels)."
        )
    codec = Codec(cfg["side"], cfg["patch"], cfg["channels"])
    shape = UNetConfig(codec.places, cfg["channels"], cfg["width"], cfg["levels"], cfg["heads"], TEXT_DIM)
    return Painter(shape, codec, Noise(cfg["schedule"], cfg["noise_steps"], clip=False), cfg["says"])
