"""How fast is it, and beside whom? `./course run 13 bench [train|patches|decode]`

    train    our vision transformer, forward and backward, beside torchvision's and transformers' of the same shape and
             weights: the lesson's small one, and ViT-S/16 with fewer blocks
    patches  cutting and multiplying, beside torch's convolution, forward and backward
    decode   a folder of pictures as a phone or an X-ray machine saves them: decoded and made small each time, and kept

How contestants take turns and what counts: shared/race.py.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week13_vit/bench.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor

from shared import cli, race
from shared.config import Count
from shared.device import Device, choose
from shared.runs import RUNS
from week13_vit import data, decoded, weights
from week13_vit.model import PatchEmbed, ViTConfig

PARTS = ("train", "patches", "decode")
OURS, TORCHVISION, TRANSFORMERS = "ours", "torchvision", "transformers"


@dataclass
class Config(race.BenchConfig):
    """The flags of bench."""

    parts: tyro.conf.Positional[tuple[Literal["train", "patches", "decode"], ...]] = PARTS
    """Which parts."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """auto takes the fastest one that is there and says why."""
    batch: Count = 50
    """Pictures of 64 x 64 a round (train, patches)."""
    large: Count = 4
    """Pictures of 224 x 224 a round (train)."""
    depth: Count = 4
    """Blocks of either network."""
    files: Count = 60
    """Pictures in the folder (decode)."""
    pixels: Count = 1200
    """Height of these; they are a quarter wider."""
    out: str = str(RUNS / "week13" / "bench")
    """The folder for the numbers."""


PRESETS: dict[str, dict[str, Any]] = {
    "smoke": {"rounds": 1, "batch": 2, "large": 1, "depth": 1, "files": 10, "pixels": 80, "threads": (1,)},
    "quick": {"rounds": 15},
    "full": {"rounds": 30, "large": 16, "depth": 12},
}


def there_and_back(layer: Callable[[Tensor], Tensor], x: Tensor) -> Callable[[], None]:
    """One pass forward and backward, under a gradient that is the same each time."""
    upstream = torch.randn_like(layer(x))

    def work() -> None:
        layer(x).backward(upstream)

    return work


def three_networks(shape: ViTConfig, device: str) -> dict[str, Callable[[Tensor], Tensor]]:
    """Ours, torchvision's and transformers', in training, with the same weights; from pictures to CLS, normalised."""
    from torch import nn
    from torchvision.models.vision_transformer import VisionTransformer
    from transformers import ViTConfig as TheirConfig
    from transformers import ViTModel

    first = VisionTransformer(shape.side, shape.patch, shape.depth, shape.heads, shape.width, shape.mlp_width)
    first.heads = nn.Identity()
    second = ViTModel(
        TheirConfig(
            hidden_size=shape.width, num_hidden_layers=shape.depth, num_attention_heads=shape.heads,
            intermediate_size=shape.mlp_width, image_size=shape.side, patch_size=shape.patch, layer_norm_eps=shape.eps,
        ),
        add_pooling_layer=False,
    )  # fmt: skip
    ours = weights.build(second.state_dict(), heads=shape.heads, eps=shape.eps)
    first.load_state_dict(in_torchvisions_names(ours.state_dict()))
    for network in (ours, first, second):
        network.train().to(device)
    return {OURS: ours, TORCHVISION: first, TRANSFORMERS: lambda x: second(x).last_hidden_state[:, 0]}


def in_torchvisions_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Our weights as torchvision names them."""
    pairs = (("cls_token", "class_token"), ("pos_embed", "encoder.pos_embedding"), ("patch_embed.proj", "conv_proj"),
             ("blocks.", "encoder.layers.encoder_layer_"), ("norm1", "ln_1"), ("norm2", "ln_2"),
             ("attn.qkv.", "self_attention.in_proj_"), ("attn.proj", "self_attention.out_proj"),
             ("mlp.fc1", "mlp.0"), ("mlp.fc2", "mlp.3"))  # fmt: skip
    found = {}
    for name, tensor in state.items():
        name = f"encoder.ln.{name[5:]}" if name.startswith("norm.") else name
        for ours, theirs in pairs:
            name = name.replace(ours, theirs)
        found[name] = tensor
    return found


def bench_train(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Pictures a second, forward and backward: a table for each of two shapes."""
    small = ViTConfig(side=64, patch=8, width=64, depth=cfg.depth, heads=4, mlp_width=256, classes=0)
    large = ViTConfig(side=224, patch=16, width=384, depth=cfg.depth, heads=6, mlp_width=1536, classes=0)
    texts, found = [], {}
    for shape, count in ((small, cfg.batch), (large, cfg.large)):
        torch.manual_seed(cfg.seed)
        networks = three_networks(shape, device.name)
        x = torch.randn(count, 3, shape.side, shape.side, device=device.name)
        with torch.no_grad():
            apart = max(float((network(x) - networks[OURS](x)).abs().max()) for network in networks.values())
        laps = race.take_turns({name: there_and_back(one, x) for name, one in networks.items()}, cfg.rounds)
        work = dict.fromkeys(laps, count)
        table, numbers = race.table(laps, work, "pictures", TORCHVISION, threads)
        ratios = [race.ratio(laps[OURS], laps[peer], threads) for peer in (TORCHVISION, TRANSFORMERS)]
        numbers[OURS] |= {"over_torchvision": ratios[0][0], "over_transformers": ratios[1][0], "apart": apart}
        about = (
            f"{count} pictures of {shape.side} x {shape.side}, patches of {shape.patch}, {shape.depth} blocks of width "
        )
        about += f"{shape.width}, {device}, the same weights: outputs differ by {apart:.1e} at most. Ours is "
        about += " and ".join(
            f"{best:.2f} ({low:.2f} to {high:.2f}) times as fast as {peer}"
            for (best, low, high), peer in zip(ratios, (TORCHVISION, TRANSFORMERS), strict=True)
        )
        texts.append(f"{about}.\n\n{table}")
        found |= {f"{name}, {shape.side}": row for name, row in numbers.items()}
    return "\n\n".join(texts), found


def bench_patches(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Pictures a second from pixels to tokens, by unfold and a product and by torch's convolution."""
    torch.manual_seed(cfg.seed)
    embed = PatchEmbed(3, 64, 8).to(device.name)
    x = torch.randn(cfg.batch, 3, 64, 64, device=device.name)
    ways = {"unfold and multiply": there_and_back(embed, x), "convolution": there_and_back(embed.convolve, x)}
    laps = race.take_turns(ways, cfg.rounds)
    table, numbers = race.table(laps, dict.fromkeys(laps, cfg.batch), "pictures", "convolution", threads)
    return f"{cfg.batch} pictures of 64 x 64, patches of 8, width 64, {device}.\n\n{table}", numbers


def photographs(folder: Path, count: int, height: int, seed: int) -> list[Path]:
    """JPEG files of two classes, made up: soft clouds under noise, about as hard to decode as a radiograph."""
    rng, paths = np.random.default_rng(seed), []
    size = (height * 5 // 4, height)
    for number in range(count):
        few = Image.fromarray(rng.integers(0, 256, (12, 15), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        noise = rng.normal(0, 6, (size[1], size[0]))
        path = folder / ("ill" if number % 2 else "well") / f"{number:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(np.asarray(few) + noise, 0, 255).astype(np.uint8)).save(path, quality=90)
        paths.append(path)
    return paths


def bench_decode(cfg: Config, device: Device, threads: int) -> tuple[str, dict[str, Any]]:
    """Pictures a second out of a folder: decoded each time, the first time with the cache, and from then on."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "pictures"
        paths = photographs(folder, cfg.files, cfg.pixels, cfg.seed)
        kept = decoded.place(folder, data.SIDE, "RGB")

        def first_time() -> None:
            kept.unlink(missing_ok=True)
            decoded.read(folder, paths, data.SIDE, "RGB")

        laps = race.take_turns({
            "decoded each time": lambda: [decoded.decode(path, data.SIDE, "RGB") for path in paths],
            "kept, the first time": first_time,
            "kept": lambda: decoded.read(folder, paths, data.SIDE, "RGB"),
        }, max(1, cfg.rounds // 3))  # fmt: skip
        kept.unlink(missing_ok=True)
    work = dict.fromkeys(laps, cfg.files)
    table, numbers = race.table(laps, work, "pictures", "decoded each time", threads)
    size = f"{cfg.pixels * 5 // 4} x {cfg.pixels}"
    return f"{cfg.files} JPEGs of {size} brought to {data.SIDE} x {data.SIDE}.\n\n{table}", numbers


BENCHES: dict[str, Callable[..., tuple[str, dict[str, Any]]]] = {
    "train": bench_train,
    "patches": bench_patches,
    "decode": bench_decode,
}


def main(cfg: Config) -> dict[str, Any]:
    """Times the network beside torchvision's and transformers', and a folder that is read again."""
    return race.parts(cfg, 13, BENCHES, choose(cfg.device))


if __name__ == "__main__":
    cli.launch(main, Config, PRESETS)
