"""The networks of open_clip, with their published weights, their own preprocessing and their own tokenizers.

    load("ViT-B-32", "laion2b_s34b_b79k")      a published one, brought once from the hub of models
    load("ViT-B-32", "vit_b_32.safetensors")   its weights in a file
    load("mine.json")                          a shape of one's own, in the form of open_clip's; it has learned nothing

References
    M. Cherti et al., "Reproducible scaling laws for contrastive language-image learning", arXiv:2212.07143: the
        networks of open_clip and their weights
    A. Radford et al., "CLIP", arXiv:2103.00020: the networks themselves, both towers learning
"""

import contextlib
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor, nn

from shared.chat_models import ask_the_hub
from shared.errors import CourseError
from shared.files import write_json
from shared.progress import bar
from week14_clip.data import Pictures, numbered
from week14_clip.features import Pairs, in_batches
from week14_clip.model import LARGEST, Scalar, unit

HUB = "hf-hub:"
CONFIG = "open_clip_config.json"
BATCH = 32


class OpenClip(nn.Module):
    """One of open_clip's networks, called as our `DualEncoder` is, so that the same loop trains it.

    Attributes:
        preprocess: of a picture to look at; augment: of one to learn from, with a random cut.
        tokenizer: texts -> tokens (N, context).
        about: what it is built of, so that a run can build it again.
    """

    def __init__(
        self, network: nn.Module, preprocess: Callable, augment: Callable, tokenizer: Callable, about: dict[str, Any]
    ) -> None:
        super().__init__()
        self.network, self.about = network, about
        self.preprocess, self.augment, self.tokenizer = preprocess, augment, tokenizer

    @property
    def dim(self) -> int:
        """Numbers of a vector."""
        return self.about["model_cfg"]["embed_dim"]

    @property
    def scale(self) -> Scalar:
        """1 / temperature."""
        return self.network.logit_scale.exp().reshape(())  # some networks keep it as (1,)

    @torch.no_grad()
    def keep_in_bounds(self) -> None:
        """As `DualEncoder.keep_in_bounds`."""
        self.network.logit_scale.clamp_(0, LARGEST)

    def of_pixels(self, pixels: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N dim"]:
        """Vectors of unit length; the lengths in 32 bits, for in 16 the cosines would be too coarse for `scale`."""
        with self.cast():
            found = self.network.encode_image(pixels)
        return unit(found.float())

    def of_tokens(self, tokens: Int[Tensor, "N context"]) -> Float[Tensor, "N dim"]:
        """Vectors of unit length."""
        with self.cast():
            found = self.network.encode_text(tokens)
        return unit(found.float())

    def cast(self) -> Any:
        """bfloat16 where the card has it."""
        device = self.network.logit_scale.device.type
        return torch.autocast(device, torch.bfloat16, enabled=device == "cuda" and torch.cuda.is_bf16_supported(False))

    def forward(self, pixels: Float[Tensor, "N 3 H W"], tokens: Int[Tensor, "N context"]) -> tuple[Tensor, ...]:
        """What `info_nce` takes: vectors of both, and the scale."""
        return self.of_pixels(pixels), self.of_tokens(tokens), self.scale

    def pixels(self, pictures: Iterable[Image.Image], augmented: bool = False) -> Float[Tensor, "N 3 H W"]:
        """Pictures as it takes them."""
        prepare = self.augment if augmented else self.preprocess
        return torch.stack([prepare(one) for one in pictures])

    @torch.inference_mode()
    def encode_pictures(self, pictures: Iterable[Image.Image], device: str) -> Float[np.ndarray, "N dim"]:
        """Vectors of pictures, in their order, some at a time."""
        found = [self.of_pixels(self.pixels(some).to(device)).cpu() for some in in_batches(pictures, BATCH)]
        return torch.cat(found).numpy() if found else np.zeros((0, self.dim), np.float32)

    @torch.inference_mode()
    def encode_texts(self, texts: Sequence[str], device: str) -> Float[np.ndarray, "N dim"]:
        """Vectors of texts, in their order, some at a time."""
        found = [self.of_tokens(self.tokenizer(some).to(device)).cpu() for some in in_batches(texts, BATCH)]
        return torch.cat(found).numpy() if found else np.zeros((0, self.dim), np.float32)


@dataclass(frozen=True)
class Photographs(Pairs):
    """A part as one of these networks sees it: the pictures themselves, read batch by batch; all of it learns.

    Attributes:
        part: the pictures.
        tokens: of all captions, those of the first picture first.
        owner, concept: as those of `Features`.
    """

    part: Pictures
    tokens: Int[Tensor, "M context"]
    owner: Int[np.ndarray, " M"]
    concept: Int[np.ndarray, " N"]

    def batch(
        self, model: OpenClip, rows: Int[np.ndarray, " n"], captions: Int[np.ndarray, " n"], device: str
    ) -> tuple[Float[Tensor, "n 3 H W"], Int[Tensor, "n context"]]:
        """Pictures, cut at random, each with one of its captions."""
        pixels = model.pixels((self.part.items[row].read() for row in rows), augmented=True)
        return pixels.to(device), self.tokens[torch.from_numpy(self.first[rows] + captions)].to(device)

    def embed(self, model: OpenClip, device: str) -> tuple[Float[np.ndarray, "N dim"], Float[np.ndarray, "M dim"]]:
        """The vectors of the pictures and of the texts; the model is left in evaluation mode."""
        model.to(device).eval()
        with bar(len(self.part), 0, "looking") as told:

            def read() -> Iterator[Image.Image]:
                for one in self.part.items:
                    told.update()
                    yield one.read()

            pictures = model.encode_pictures(read(), device)
        with torch.inference_mode():
            texts = [model.of_tokens(some.to(device)).cpu() for some in self.tokens.split(BATCH)]
        return pictures, torch.cat(texts).numpy()


def photographs(part: Pictures, model: OpenClip) -> Photographs:
    """A part for a network, with its captions as tokens."""
    texts = [text for one in part.items for text in one.captions]
    owner = np.repeat(np.arange(len(part)), [len(one.captions) for one in part.items])
    return Photographs(part, model.tokenizer(texts), owner, numbered(part))


# ---------------------------------------------------------------- making one


def load(name: str, pretrained: str = "", needed: bool = False) -> OpenClip:
    """A network of open_clip's.

    Args:
        name: as open_clip calls it; a config in a .json; a folder with open_clip_config.json and weights; or hf-hub:….
        pretrained: the name of its published weights, or a file with them; nothing: those of the folder or the hub, and
            else it begins with random ones.
        needed: whether random ones are of no use.

    Raises:
        CourseError: no such network or weights; they do not fit; the hub does not answer.
    """
    name, identifier = resolved(name)
    brings = identifier.startswith((HUB, "local-dir:"))
    if brings and pretrained:
        raise CourseError(f"--model {name} brings its own weights: leave --pretrained out.")
    if needed and not brings and not pretrained:
        tags = published(identifier)
        raise CourseError(f"--model {name}: it has learned nothing yet. Give --pretrained, a file or one of {tags}.")
    options: dict[str, Any] = {}
    import open_clip

    tag = open_clip.get_pretrained_cfg(identifier, pretrained) if pretrained else {}
    if pretrained and not tag:
        pretrained = str(Path(pretrained).expanduser())
        if not Path(pretrained).is_file():
            raise CourseError(
                f"--pretrained {pretrained}: no such file, nor weights of {name}: {published(identifier)}."
            )
    if tag.get("quick_gelu"):  # they were learned with it; open_clip itself only warns, and its answers are worse
        options["force_quick_gelu"] = True
    if tag or identifier.startswith(HUB):
        ask_the_hub(pretrained if tag else identifier.removeprefix(HUB))
    with in_words(name, pretrained, bool(tag)), silent():
        network, augment, preprocess = open_clip.create_model_and_transforms(
            identifier, pretrained or None, weights_only=True, **options
        )
        shape = open_clip.get_model_config(identifier)
        tokenizer = open_clip.get_tokenizer(identifier)
    shape |= {"quick_gelu": True} if options else {}
    about = {"model_cfg": shape, "preprocess_cfg": network.visual.preprocess_cfg, "tokenizer": identifier}
    return OpenClip(network, preprocess, augment, tokenizer, json.loads(json.dumps(about)))


def again(about: dict[str, Any]) -> OpenClip:
    """The network that a run has kept, with random weights: those of the run come after."""
    import open_clip

    with tempfile.TemporaryDirectory() as folder, silent(), in_words("", "", False):
        write_json(Path(folder) / CONFIG, {name: about[name] for name in ("model_cfg", "preprocess_cfg")})
        where = f"local-dir:{folder}"
        network, augment, preprocess = open_clip.create_model_and_transforms(
            where, load_weights=False, pretrained_text=False
        )
        own = "hf_tokenizer_name" not in about["model_cfg"]["text_cfg"]
        tokenizer = open_clip.get_tokenizer(where if own else about["tokenizer"])
    return OpenClip(network, preprocess, augment, tokenizer, about)


def check(cfg: Any) -> None:
    """CourseError where --pretrained stands without --model."""
    if cfg.pretrained and not cfg.model:
        raise CourseError("--pretrained: of which network? Say so with --model, as ViT-B-32.")


def resolved(name: str) -> tuple[str, str]:
    """(how to call it, how open_clip calls it) of what --model says.

    Raises:
        CourseError: open_clip has none of that name, or the file or folder is none of its own.
    """
    import open_clip

    path = Path(name).expanduser()
    if name.startswith(HUB) or name in open_clip.list_models():
        return name, name
    if path.suffix == ".json":
        try:
            shape = json.loads(path.read_text(encoding="utf-8"))
            right = {"embed_dim", "vision_cfg", "text_cfg"} <= shape.keys()
        except OSError as error:
            raise CourseError(f"--model {name}: {error.strerror}.") from None
        except (ValueError, AttributeError):
            right = False
        if not right:
            raise CourseError(f"--model {name}: not a config of open_clip: embed_dim, vision_cfg, text_cfg.")
        open_clip.add_model_config(path.resolve())
        return name, path.stem
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise CourseError(f"--model {name}: no {CONFIG} in that folder.")
        return name, f"local-dir:{path.resolve()}"
    near = get_close_matches(name, open_clip.list_models(), 3, 0.4)
    meant = f" (did you mean {' or '.join(near)}?)" if near else ""
    raise CourseError(f"--model {name}: open_clip has no such network{meant}, nor is it a .json or a folder.")


def published(identifier: str) -> str:
    """The published weights of a network, in words."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(identifier)
    return ", ".join(tags) if tags else "none are published"


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Keeps from the terminal what open_clip logs: it warns of random weights where one has asked for them."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def in_words(name: str, pretrained: str, tag: bool) -> Iterator[None]:
    """What open_clip raises, in one line."""
    try:
        yield
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:
        said = " ".join(str(error).split())[:160]
        if tag or name.startswith(HUB):
            what = f"--pretrained {pretrained}" if tag else f"--model {name}"
            cure = "Fetch the weights by hand, and give their file as --pretrained FILE."
            raise CourseError(f"{what}: the hub does not answer, or has them no longer. {cure}") from None
        if "weights_only" in said.lower() or "unpickl" in type(error).__name__.lower():
            raise CourseError(
                f"--pretrained {pretrained}: a pickle that holds more than numbers may run any program, and is not "
                "read. Take the same weights as .safetensors."
            ) from None
        if pretrained:
            raise CourseError(
                f"--pretrained {pretrained} does not hold the weights of {name} ({type(error).__name__}: {said})."
            ) from None
        raise CourseError(f"--model {name}: open_clip cannot build it ({type(error).__name__}: {said}).") from None
