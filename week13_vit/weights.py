"""Published weights: vision transformers as torchvision, transformers and timm save them, under our names.

Ours are timm's. torchvision has queries, keys and values in one matrix, as here; transformers has three. A checkpoint
is refused by the name of a tensor that is missing, too much or of another shape: a network with a few weights left at
random still trains, only worse, and nobody notices.

    transformers: a folder with config.json and model.safetensors, as google/vit-base-patch16-224-in21k is published
    ours: the folder of a run of `./course run 13 pretrain`
    torchvision, timm: a .pth or .safetensors file; the network's shape follows from the tensors
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from shared import checkpoint
from shared.errors import CourseError
from shared.files import read_json
from week13_vit.model import ViT, ViTConfig

CONFIG, WEIGHTS, PROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
PRETRAINED = "pretrained.safetensors"  # in a run of pretrain; model.safetensors is what train makes

# What stands where: a pattern of theirs, and our name. The first that fits is taken.
TORCHVISION = (
    (r"class_token", "cls_token"),
    (r"encoder\.pos_embedding", "pos_embed"),
    (r"conv_proj\.(weight|bias)", r"patch_embed.proj.\1"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.ln_([12])\.(weight|bias)", r"blocks.\1.norm\2.\3"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.in_proj_(weight|bias)", r"blocks.\1.attn.qkv.\2"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.self_attention\.out_proj\.(weight|bias)", r"blocks.\1.attn.proj.\2"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:0|linear_1)\.(weight|bias)", r"blocks.\1.mlp.fc1.\2"),
    (r"encoder\.layers\.encoder_layer_(\d+)\.mlp\.(?:3|linear_2)\.(weight|bias)", r"blocks.\1.mlp.fc2.\2"),
    (r"encoder\.ln\.(weight|bias)", r"norm.\1"),
    (r"heads\.head\.(weight|bias)", r"head.\1"),
)
# The names on the hub, and those that the library has had in memory since its version 5.
LAYER = r"(?:vit\.)?(?:encoder\.layer|layers)\.(\d+)\."
TRANSFORMERS = (
    (r"(?:vit\.)?embeddings\.cls_token", "cls_token"),
    (r"(?:vit\.)?embeddings\.position_embeddings", "pos_embed"),
    (r"(?:vit\.)?embeddings\.patch_embeddings\.projection\.(weight|bias)", r"patch_embed.proj.\1"),
    (LAYER + r"layernorm_before\.(weight|bias)", r"blocks.\1.norm1.\2"),
    (LAYER + r"layernorm_after\.(weight|bias)", r"blocks.\1.norm2.\2"),
    (LAYER + r"attention\.(?:attention\.)?(?:query|q_proj)\.(weight|bias)", r"blocks.\1.attn.q.\2"),
    (LAYER + r"attention\.(?:attention\.)?(?:key|k_proj)\.(weight|bias)", r"blocks.\1.attn.k.\2"),
    (LAYER + r"attention\.(?:attention\.)?(?:value|v_proj)\.(weight|bias)", r"blocks.\1.attn.v.\2"),
    (LAYER + r"attention\.(?:output\.dense|o_proj)\.(weight|bias)", r"blocks.\1.attn.proj.\2"),
    (LAYER + r"(?:intermediate\.dense|mlp\.fc1)\.(weight|bias)", r"blocks.\1.mlp.fc1.\2"),
    (LAYER + r"(?:output\.dense|mlp\.fc2)\.(weight|bias)", r"blocks.\1.mlp.fc2.\2"),
    (r"(?:vit\.)?layernorm\.(weight|bias)", r"norm.\1"),
    (r"classifier\.(weight|bias)", r"head.\1"),
)
PASSED_OVER = re.compile(r"(?:vit\.)?pooler\.dense\.(weight|bias)|(?:vit\.)?embeddings\.mask_token")


def in_our_names(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of torchvision's VisionTransformer, of transformers' ViTModel or ViTForImageClassification, or of
    timm's, under our names.

    Raises:
        CourseError: a tensor that none of them has.
    """
    if "cls_token" in theirs:  # timm's names, and ours
        return dict(theirs)
    table = TORCHVISION if "class_token" in theirs else TRANSFORMERS
    state: dict[str, Tensor] = {}
    for name, tensor in theirs.items():
        if PASSED_OVER.fullmatch(name):
            continue
        ours = next((re.sub(pattern, to, name) for pattern, to in table if re.fullmatch(pattern, name)), None)
        if ours is None:
            raise CourseError(f"{name} is no tensor of a plain vision transformer.")
        state[ours] = tensor
    for q in [name for name in state if ".attn.q." in name]:  # three matrices become one
        three = [q.replace(".q.", f".{part}.") for part in "qkv"]
        if all(name in state for name in three):
            state[q.replace(".q.", ".qkv.")] = torch.cat([state.pop(name) for name in three])
    return state


def shape_of(state: Mapping[str, Tensor], heads: int = 0, eps: float = 1e-6) -> ViTConfig:
    """What the network of a state in our names looks like. Heads are not to be seen in it: as published, of 64 numbers
    each, where none are given."""
    for name in ("pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"):
        if name not in state:
            raise CourseError(f"no {name} among its tensors: it is no vision transformer.")
    width, channels, patch, _ = state["patch_embed.proj.weight"].shape
    places = state["pos_embed"].shape[1] - 1
    side = round(places**0.5)
    if side * side != places:
        raise CourseError(f"its {places} positions are no square of patches, with one more for CLS.")
    blocks = {int(name.split(".")[1]) for name in state if name.startswith("blocks.")}
    classes = len(state["head.weight"]) if "head.weight" in state else 0
    return ViTConfig(
        side=side * patch, patch=patch, channels=channels, width=width, depth=len(blocks),
        heads=heads or max(1, width // 64), mlp_width=len(state["blocks.0.mlp.fc1.weight"]), classes=classes, eps=eps,
    )  # fmt: skip


def build(state: Mapping[str, Tensor], heads: int = 0, eps: float = 1e-6) -> ViT:
    """The network of a published state, filled, in evaluation mode; CourseError where they do not fit."""
    ours = in_our_names(state)
    model = ViT(shape_of(ours, heads, eps))
    fill(model, ours)
    return model.eval()


def fill(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Loads a state that must fit to the last name and shape."""
    own = model.state_dict()
    for what, names in (("lacks", own.keys() - state.keys()), ("has too much,", state.keys() - own.keys())):
        if names:
            more = f" and {len(names) - 1} more" * (len(names) > 1)
            raise CourseError(f"it {what} {min(names)}{more}.")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            raise CourseError(f"its {name} is {tuple(tensor.shape)}, should be {tuple(own[name].shape)}.")
    model.load_state_dict({name: tensor.float() for name, tensor in state.items()})


def with_head(model: ViT, classes: int, **changes: object) -> ViT:
    """The same network with a new head of `classes`, all zero; `changes` are others of the config that move no weight
    (pool, dropout, drop_path)."""
    found = ViT(replace(model.config, classes=classes, **changes))
    kept = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("head.")}
    found.load_state_dict(found.state_dict() | kept)
    return found


def load_pretrained(path: Path | str) -> ViT:
    """The network in a checkpoint: a folder with config.json and model.safetensors as transformers saves it, or a file
    of torchvision's, timm's or our own (.safetensors, .pth).

    Raises:
        CourseError: it is missing, damaged, of another kind, or does not fit; one line that names the file.
    """
    path = Path(path).expanduser()
    heads, eps = 0, 1e-6
    if path.is_dir():
        own = path / PRETRAINED
        path = own if own.is_file() else path / WEIGHTS
        if path.is_file() and is_ours(path):
            return of_run(path)
        heads, eps = _of_config(path.with_name(CONFIG))
    try:
        return build(read_tensors(path), heads, eps)
    except CourseError as error:
        told = str(error)
        raise CourseError(told if told.startswith(str(path)) else f"{path}: {told}") from None


def normalisation(path: Path | str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Mean and deviation (of red, green, blue, as decimals 0 to 1) that pictures had when a checkpoint was trained:
    a run of pretrain holds them, and in transformers' layout preprocessor_config.json. None where it does not say."""
    path = Path(path).expanduser()
    for own in (path / PRETRAINED, path / WEIGHTS, path):
        if own.is_file() and is_ours(own):
            saved = checkpoint.load(own)
            if "mean" in saved and "std" in saved:
                return tuple(map(float, saved["mean"])), tuple(map(float, saved["std"]))
    file = path / PROCESSOR
    if not file.is_file():
        return None
    told = read_json(file)
    mean, std = (told.get(name) if isinstance(told, dict) else None for name in ("image_mean", "image_std"))
    three = all(isinstance(x, list) and len(x) == 3 and all(isinstance(y, int | float) for y in x) for x in (mean, std))
    if not three or min(std) <= 0:
        raise CourseError(f"{file}: expected image_mean and image_std of three numbers each.")
    return tuple(map(float, mean)), tuple(map(float, std))


def _of_config(path: Path) -> tuple[int, float]:
    """Heads and the norms' eps, which the tensors do not tell, of a config.json of transformers."""
    if not path.is_file():
        raise CourseError(f"{path} is not there. Give the folder or file of a vision transformer's weights.")
    told = read_json(path)
    if not isinstance(told, dict) or told.get("model_type", "vit") != "vit":
        kind = told.get("model_type") if isinstance(told, dict) else type(told).__name__
        raise CourseError(f"{path}: describes a model of type {kind}, expected vit.")
    if told.get("hidden_act", "gelu") != "gelu":
        raise CourseError(f"{path}: its activation is {told['hidden_act']}, but this network knows gelu alone.")
    return int(told.get("num_attention_heads", 12)), float(told.get("layer_norm_eps", 1e-12))  # the library's defaults


def is_ours(path: Path) -> bool:
    """Whether a .safetensors file is a checkpoint of this course: then its header holds a state."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return "state" in (file.metadata() or {})
    except (SafetensorError, OSError):
        return False


def of_run(path: Path) -> ViT:
    """The network of a run of pretrain or train: its checkpoint says what it looks like."""
    saved = checkpoint.load(path)
    if not isinstance(saved.get("vit"), dict):
        raise CourseError(f"{path} holds no vision transformer: give --start a run of week 13.")
    model = ViT(ViTConfig(**saved["vit"]))
    try:
        fill(model, saved["model"])
    except CourseError as error:
        raise CourseError(f"{path}: {error}") from None
    return model.eval()


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pth file; CourseError where it is not there, not whole, or holds more."""
    from safetensors.torch import load_file

    if not path.is_file():
        raise CourseError(f"{path} is not there. Give the folder or file of a vision transformer's weights.")
    try:
        if path.suffix == ".safetensors":
            found = load_file(path)
        else:
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds: a damaged zip, a foreign pickle, a file cut off
        told = str(error).splitlines()[0][:120] if str(error) else ""
        reason = f" ({told})" if " " in told else ""  # of a text file pickle says a number alone
        raise CourseError(f"{path} is damaged, or holds more than tensors{reason}. Fetch it again.") from None
    if not isinstance(found, dict) or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise CourseError(f"{path} holds no plain state_dict of tensors.")
    return found
