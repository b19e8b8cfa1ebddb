"""Will it fit? `./course run 9 memory --model llama3 --quantize nf4 --batch-size 4 --max-len 1024`

Adds up what lies in memory at the fullest moment of a training step: weights, adapters, gradients, the optimiser's
state, what the way back needs of the way there (activations), and the logits. It reads a model's config, never its
weights.

Where the numbers come from: what autograd keeps was counted tensor by tensor on a Llama of transformers 5
(`--measure` counts again, on your machine). S. Rajbhandari et al., "ZeRO", arXiv:1910.02054, section 3, for weights and
optimiser; V. Korthikanti et al., "Reducing activation recomputation", arXiv:2205.05198, section 4, does the like for
activations; T. Chen et al., arXiv:1604.06174, for checkpointing.
"""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week09_lora/memory.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from shared import chat_models, cli
from shared.config import Count, Natural
from shared.errors import CourseError
from shared.results import markdown

GIB = 2**30
CARDS = {
    "t4": ("a T4", 14.2), "l4": ("an L4", 21.6), "rtx3060": ("an RTX 3060", 11.4), "rtx4090": ("an RTX 4090", 23.2),
    "a100": ("an A100 of 40 GB", 38.9), "h100": ("an H100", 78.0),
}  # fmt: skip
"""By name: GiB that a process can fill, after what the driver and CUDA itself take."""
SIZES = {"float32": 4, "bfloat16": 2, "float16": 2}
NF4_BYTES = (4 + 8 / 64 + 32 / (64 * 256)) / 8


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama-shaped model that its memory follows from."""

    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    vocab: int
    tied: bool = False
    head_dim: int = 0

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """{name: (in_features, out_features)} of the matrices of one layer."""
        h, width = self.hidden, self.head_dim or self.hidden // self.heads
        q, kv = self.heads * width, self.kv_heads * width
        return {"q_proj": (h, q), "k_proj": (h, kv), "v_proj": (h, kv), "o_proj": (q, h),
                "gate_proj": (h, self.inner), "up_proj": (h, self.inner), "down_proj": (self.inner, h)}  # fmt: skip

    @property
    def inside(self) -> int:
        """Weights of all these matrices, in all layers."""
        return self.layers * sum(a * b for a, b in self.linears.values())

    @property
    def outside(self) -> int:
        """All other weights: the table of tokens, the head where it is not the same, the norms."""
        return self.vocab * self.hidden * (1 if self.tied else 2) + self.hidden * (2 * self.layers + 1)


KNOWN = {
    "smollm2": Shape(576, 1536, 30, 9, 3, 49_152, tied=True),
    "smollm2-1.7b": Shape(2048, 8192, 24, 32, 32, 49_152, tied=True),
    "llama3": Shape(4096, 14_336, 32, 32, 8, 128_256),
    "mistral": Shape(4096, 14_336, 32, 32, 8, 32_768),
}


def shape_of(model: str) -> Shape:
    """The sizes of a model: one of `KNOWN`, or out of the config.json of a folder or of the hub.

    Raises:
        CourseError: there is no config, or it is not of a Llama's shape.
    """
    if model in KNOWN:
        return KNOWN[model]
    path = Path(model).expanduser() / "config.json"
    if not path.is_file():
        from huggingface_hub import hf_hub_download

        chat_models.ask_the_hub(model)

        try:
            path = Path(hf_hub_download(model, "config.json"))
        except Exception as error:  # whatever a library of the network raises where there is none
            raise CourseError(
                f"--model {model}: no folder with a config.json, none of {', '.join(KNOWN)}, and the hub does not give "
                f"it ({type(error).__name__})."
            ) from None
    about = json.loads(path.read_text(encoding="utf-8"))
    names = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    missing = [name for name in names if name not in about]
    if missing:
        raise CourseError(f"{path}: {missing[0]} is missing; only models of Llama's shape are counted.")
    hidden, inner, layers, heads, vocab = (int(about[name]) for name in names)
    kv = int(about.get("num_key_value_heads") or heads)
    tied, width = bool(about.get("tie_word_embeddings")), int(about.get("head_dim") or 0)
    return Shape(hidden, inner, layers, heads, kv, vocab, tied, width)


@dataclass(frozen=True)
class Need:
    """Bytes at the fullest moment of a step.

    Attributes:
        weights: of the base.
        adapters: A and B, always in float32.
        optimizer: its state, after the first step.
        gradients: of all that learns, float32.
        activations: what is kept of the way there; with checkpointing each layer's input, and one layer in full.
        logits: scores of the tokens, in the three copies that the loss and its gradient take.
        temporary: of one layer on the way back, a dequantised matrix among them.
        peak: the most that is there at once: not all of these are.
    """

    weights: float
    adapters: float
    optimizer: float
    gradients: float
    activations: float
    logits: float
    temporary: float
    peak: float


def predict(
    shape: Shape, rank: int = 16, batch: int = 8, length: int = 256, quantize: str = "none", dtype: str = "float32",
    checkpointing: bool = False, accumulate: int = 1, optimizer: str = "adamw",
    targets: str | Sequence[str] = "all-linear", prepared: bool = False,
) -> Need:  # fmt: skip
    """What a training step needs at its fullest moment.

    Args:
        shape: of the model.
        rank: of the adapters; 0 trains all weights.
        batch, length: rows of a step, and tokens of a row; every token has logits.
        quantize: none, int8 or nf4: of the matrices inside the layers.
        dtype: float32, bfloat16 or float16, of all other weights and of the activations.
        checkpointing: whether a layer keeps its input alone.
        accumulate: in how many pieces a step is worked on.
        optimizer: adamw (two float32 for each number that learns) or paged_adamw8bit (two bytes).
        targets: which matrices get adapters, by name.
        prepared: as peft's prepare_model_for_kbit_training: norms, table and head in float32, and so the activations.
    """
    size = SIZES["float32" if prepared else dtype]
    chosen = [x for name, x in shape.linears.items() if targets == "all-linear" or any(name in t for t in targets)]
    inside = {"none": SIZES[dtype], "int8": 1 + 4 / shape.hidden, "nf4": NF4_BYTES}[quantize] * shape.inside
    weights = float(inside + size * shape.outside)
    adapters = 4.0 * rank * shape.layers * sum(a + b for a, b in chosen)
    learns = adapters / 4 if rank else float(shape.inside + shape.outside)
    state = learns * (8 if optimizer == "adamw" else 2)
    gradients = 4.0 * learns

    # What autograd keeps of one layer, for each token. Norms keep their input in float32; attention its queries, keys
    # and values (repeated for every head, where there is a mask) and what it found; the linear layers with adapters
    # their input, and its rank numbers; silu and the product of the two branches four vectors of the inner width.
    rows = math.ceil(batch / accumulate)
    tokens, h = rows * length, shape.hidden
    attended = shape.linears["q_proj"][1]
    kept = 4 * 2 * h + size * (2 * h + 4 * attended + 4 * shape.inner + len(chosen) * rank) + 4 * shape.heads + 8
    kept += size * length  # the mask, as numbers: a row of it for each token
    kept += size * 2 * h * (rank == 0)  # norms that learn keep their result, too
    layer = float(tokens * kept)
    activations = 1.0 * shape.layers * (tokens * h * size if checkpointing else layer)
    logits = 12.0 * tokens * shape.vocab  # log-softmax, its gradient, and that of the logits: float32, all three
    matrix = max(a * b for a, b in shape.linears.values()) * SIZES[dtype] * (quantize != "none")
    temporary = 1.0 * tokens * size * (3 * shape.inner + 2 * h) + matrix + checkpointing * layer

    # The fullest moment: when the loss is there; in the last layer on the way back; or in the first layer, where nearly
    # all gradients are there and about half of what was kept of that layer.
    table = 4.0 * shape.vocab * h * (rank == 0)
    before = gradients if accumulate > 1 else 0.0  # of the pieces that are done
    loss, last = activations + logits + before, activations + temporary + table + before
    first = gradients + max((layer + temporary) / 2, table * shape.tied)
    return Need(
        weights, adapters, state, gradients, activations + checkpointing * layer, logits, temporary,
        weights + adapters + state + max(loss, last, first),
    )  # fmt: skip


# ---------------------------------------------------------------- counting instead


def measured_peak(model: Any, work: Any) -> int:
    """The most bytes of tensors that are there at once while `work()` runs, the model's among them.

    On CUDA the allocator has counted; on a CPU every tensor that an operation makes is followed until it is gone. What
    an operation needs inside itself is not seen there.
    """
    import torch

    if next(model.parameters()).is_cuda:
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated()
    watch = _watch()
    for tensor in (*model.parameters(), *model.buffers()):
        watch.see(tensor)
        if (state := getattr(tensor, "quant_state", None)) is not None:
            for part in (state, state.state2):
                if part is not None:
                    watch.see(part.absmax)
    with watch:
        work()
    return watch.peak


def _watch() -> Any:
    """Follows the storages of all tensors that operations make (as torch.distributed's MemTracker, in small)."""
    import weakref

    from torch import Tensor
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Watch(TorchDispatchMode):
        def __init__(self) -> None:
            super().__init__()
            self.now = self.peak = 0
            self.alive: dict[int, Any] = {}

        def see(self, tensor: Tensor) -> None:
            storage = tensor.untyped_storage()
            key, size = storage._cdata, storage.nbytes()
            if key not in self.alive:
                self.alive[key] = weakref.ref(storage, lambda _: self.gone(key, size))
                self.now += size
                self.peak = max(self.peak, self.now)

        def gone(self, key: int, size: int) -> None:
            del self.alive[key]
            self.now -= size

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            for leaf in tree_leaves(found):
                if isinstance(leaf, Tensor):
                    self.see(leaf)
            return found

    return Watch()


def measure(model: Any, vocab: int, batch: int, length: int, accumulate: int = 1, optimizer: Any = None) -> int:
    """The measured peak of two steps (the second has the optimiser's state from the start) on random tokens, each row
    with a token of padding."""
    import torch
    import torch.nn.functional as F

    model.train()
    device = next(model.parameters()).device
    optimizer = optimizer or torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], fused=True)
    ids = torch.randint(vocab, (batch, length), device=device)
    mask = torch.ones_like(ids)
    mask[:, -1] = 0

    def loss_of(rows: Any) -> Any:
        logits = model(input_ids=ids[rows], attention_mask=mask[rows], use_cache=False).logits
        return F.cross_entropy(logits.flatten(0, 1).float(), ids[rows].flatten())

    def work() -> None:
        for _ in range(2):
            optimizer.zero_grad()
            for rows in torch.arange(batch).chunk(accumulate):
                loss_of(rows).backward()
            optimizer.step()

    return measured_peak(model, work)


# ---------------------------------------------------------------- the program


@dataclass
class Config:
    """The flags of memory."""

    model: str = "smollm2"
    """smollm2, smollm2-1.7b, llama3, mistral, a folder with a config.json, or OWNER/NAME of the hub."""
    rank: Natural = 16
    """Rank of the adapters; 0: all weights learn."""
    targets: tuple[str, ...] = ("all-linear",)
    """Which matrices get adapters."""
    batch_size: Count = 8
    """Rows of a step."""
    max_len: Count = 256
    """Tokens of a row."""
    accumulate: Count = 1
    """A step is worked on in so many pieces."""
    quantize: Literal["none", "int8", "nf4"] = "none"
    """How the frozen matrices are stored."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the other weights and of the activations: float32 on most CPUs, float16 on a T4, bfloat16 on newer cards."""
    checkpointing: bool = False
    """Keep only each layer's input."""
    optimizer: Literal["adamw", "paged_adamw8bit"] = "adamw"
    """paged_adamw8bit keeps two bytes for each number that learns, in place of eight."""
    prepared: bool = False
    """As peft's prepare_model_for_kbit_training: norms, table and head in float32, and so the activations."""
    card: Literal["t4", "l4", "rtx3060", "rtx4090", "a100", "h100"] = "t4"
    """Does it fit this one?"""
    measure: bool = False
    """Load the model and run two steps, and say how far off the prediction was."""


def need(cfg: Config) -> Need:
    """The prediction for a config."""
    targets = "all-linear" if cfg.targets == ("all-linear",) else cfg.targets
    return predict(
        shape_of(cfg.model), cfg.rank, cfg.batch_size, cfg.max_len, cfg.quantize, cfg.dtype, cfg.checkpointing,
        cfg.accumulate, cfg.optimizer, targets, cfg.prepared,
    )  # fmt: skip


def changes(cfg: Config) -> list[tuple[str, Config]]:
    """(what to type, the config with it and all before it), what costs least first: time, then precision, then rows."""
    found: list[tuple[str, Config]] = []

    def add(typed: str, **change: Any) -> None:
        nonlocal cfg
        if any(getattr(cfg, name) != value for name, value in change.items()):
            cfg = replace(cfg, **change)
            found.append((typed, cfg))

    if cfg.dtype == "float32":
        add("--dtype float16", dtype="float16")
    add("--checkpointing", checkpointing=True)
    pieces = cfg.accumulate
    while pieces < cfg.batch_size:
        pieces = min(cfg.batch_size, 2 * pieces)
        add(f"--accumulate {pieces}", accumulate=pieces)
    if cfg.rank:
        add("--quantize nf4", quantize="nf4")
    else:
        add("--rank 16", rank=16)
        add("--quantize nf4", quantize="nf4")
    while cfg.max_len > 128:
        add(f"--max-len {cfg.max_len // 2}", max_len=cfg.max_len // 2)
    return found


def advice(cfg: Config) -> str:
    """Whether it fits, and what to change where it does not."""
    name, room = CARDS[cfg.card]
    peak = need(cfg).peak / GIB
    if peak <= room:
        return f"fits {name}: {peak:.2f} of {room:g} GiB."
    typed = []
    for flag, changed in changes(cfg):
        typed = [other for other in typed if other.split()[0] != flag.split()[0]] + [flag]
        now = need(changed).peak / GIB
        if now <= room:
            return f"does not fit {name}: {peak:.2f} of {room:g} GiB. With {' '.join(typed)} it takes {now:.2f}."
    begin = f"does not fit {name}: {peak:.2f} of {room:g} GiB"
    return f"{begin}, nor with {' '.join(typed)}: {now:.2f}. Take a smaller model."


def table(cfg: Config) -> str:
    """The parts of LoRA, of QLoRA as it is here, and as peft prepares it, side by side; the chosen one in front."""
    kinds = {"as given": cfg}
    if cfg.rank:
        kinds["LoRA"] = replace(cfg, quantize="none", prepared=False)
        kinds["QLoRA"] = replace(cfg, quantize="nf4", prepared=False)
        kinds["QLoRA, prepared"] = replace(cfg, quantize="nf4", prepared=True)
    kinds["all weights"] = replace(cfg, rank=0, quantize="none", prepared=False, dtype="float32")
    found = {name: need(one) for name, one in kinds.items()}
    parts = ("weights", "adapters", "gradients", "optimizer", "activations", "logits", "temporary", "peak")
    rows = [[part, *(f"{getattr(one, part) / GIB:.3f}" for one in found.values())] for part in parts]
    return markdown(["GiB", *found], rows)


def main(cfg: Config) -> Need:
    """Predicts the memory of a training step, and says whether it fits a card, and what to change."""
    found = need(cfg)
    print(f"{cfg.model}, rank {cfg.rank}, {cfg.batch_size} x {cfg.max_len} tokens, {cfg.dtype}"
          f"{'' if cfg.quantize == 'none' else f', {cfg.quantize}'}\n\n{table(cfg)}\n\n{advice(cfg)}")  # fmt: skip
    if cfg.rank:
        lora, qlora = (need(replace(cfg, quantize=how, prepared=how == "nf4")).peak for how in ("none", "nf4"))
        if qlora > lora:
            print("QLoRA as peft prepares it needs more than LoRA here: it makes the activations float32, and these "
                  "weigh more than what 4 bits save.")  # fmt: skip
    if cfg.measure:
        counted = measured(cfg)
        print(f"measured: {counted / GIB:.3f} GiB; predicted {found.peak / GIB:.3f} ({found.peak / counted - 1:+.1%}).")
    return found


def measured(cfg: Config) -> int:
    """The measured peak of a config on this machine, on CUDA where there is one."""
    import torch

    from shared import chat_models
    from week09_lora.model import inject

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = chat_models.load_model(cfg.model, cfg.quantize, device, cfg.dtype)
    if cfg.rank:
        inject(model, cfg.targets, cfg.rank)
    else:
        model.requires_grad_(True)
    if cfg.checkpointing:
        with chat_models.quiet():  # transformers 5.23 tells of a new name, which older ones have not
            model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    return measure(model, model.config.vocab_size, cfg.batch_size, cfg.max_len, cfg.accumulate)


if __name__ == "__main__":
    cli.launch(main, Config)
