"""LoRA, to be read from top to bottom: one layer, injecting it into a model, counting, merging, saving and loading.

References
    E. Hu et al., "LoRA: low-rank adaptation of large language models", arXiv:2106.09685: equation 3 in
        section 4.1, which also says how it begins
    D. Kalajdzievski, "A rank stabilization scaling factor for fine-tuning with LoRA", arXiv:2312.03732: rsLoRA
    T. Dettmers et al., "QLoRA", arXiv:2305.14314, equation 5: the same on a base of 4 bits
    Hugging Face's peft: the two files in which adapters are passed on
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from shared.errors import CourseError
from shared.files import read_json, write_json, written_whole

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."  # peft's names begin so
NOT_READ = ("use_dora", "modules_to_save", "alpha_pattern", "layer_replication", "trainable_token_indices", "lora_bias")


class LoRALinear(nn.Module):
    """A frozen linear layer W0 and a learned change of low rank beside it (equation 3):

        h = W0 x + scaling · B A x,    A (rank, in_features), B (out_features, rank)

    B begins as zeros, so at first nothing is changed. A and B are float32 whatever the base is: they are small, and a
    step of 1e-4 would round to nothing in 16 bits.

    Attributes:
        scaling: alpha / rank; with rsLoRA alpha / sqrt(rank), so that the change does not fade as the rank grows.
        merged: whether the change is in the base's weight at the moment.
        disabled: whether the layer answers as its base alone.
    """

    def __init__(
        self, base: nn.Module, rank: int, alpha: int | float, dropout: float = 0.0, rslora: bool = False
    ) -> None:  # fmt: skip
        super().__init__()
        in_features, out_features = features(base)
        self.base, self.rank, self.alpha, self.rslora = base, rank, alpha, rslora
        # exercise 1: LoRA, the scaling
        # rank, alpha, and rslora, whether to use rsLoRA's factor -> self.scaling, what B A x is multiplied by.
        # hint: B A sums `rank` products: the more, the less each may weigh. The lesson has both factors.
        self.scaling = alpha / math.sqrt(rank) if rslora else alpha / rank
        # end of exercise 1
        self.dropout = nn.Dropout(dropout)
        where = {"device": base.weight.device, "dtype": torch.float32}
        self.lora_A = nn.Parameter(torch.empty(rank, in_features, **where))
        self.lora_B = nn.Parameter(torch.zeros(out_features, rank, **where))
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))  # as the authors' code; their paper says a Gaussian
        self.merged = self.disabled = False

    def forward(self, x: Float[Tensor, "*batch in_features"]) -> Float[Tensor, "*batch out_features"]:
        """What the base answers, and the change."""
        h = self.base(x)
        if self.merged or self.disabled:
            return h
        # exercise 1: LoRA, forward
        # h = W0 x (…, out_features) is there, frozen; x (…, in_features), self.lora_A (rank, in_features), self.lora_B
        # (out_features, rank), self.scaling -> equation 3, (…, out_features), in the dtype of h. Dropout is for what
        # goes into A alone. Where x has 16 bits, multiply in 16 bits: a copy of x in 32 would be kept for the way back.
        # hint: two thin products, A first: B A as a matrix would cost what W0 does. W x on paper is x W.T in code. Each
        # matrix takes, for its product alone, the dtype of what it meets, x or h; as a parameter it stays in 32 bits.
        low = F.linear(self.dropout(x), self.lora_A.to(x.dtype)).to(h.dtype)  # (…, rank)
        flat, up = low.reshape(-1, self.rank), self.lora_B.to(h.dtype).T  # (all, rank), (rank, out_features)
        # h + scaling · low Bᵀ
        return torch.addmm(h.reshape(-1, h.shape[-1]), flat, up, alpha=self.scaling).view(h.shape)
        # end of exercise 1

    @torch.no_grad()
    def delta(self) -> Float[Tensor, "out_features in_features"]:
        """The change as one matrix, float32."""
        # exercise 2: merge, the change
        # self.lora_A (rank, in_features), self.lora_B (out_features, rank), self.scaling -> what equation 3 adds to W0.
        # hint: equation 3 without its x, and without W0: one matrix. It must agree with forward in every factor.
        return (self.lora_B @ self.lora_A) * self.scaling
        # end of exercise 2

    @torch.no_grad()
    def merge(self, sign: int = 1) -> None:
        """Puts the change into the base's weight: from then on the layer costs what a linear layer costs.

        Raises:
            CourseError: the base is quantised: its weight is no matrix to which one could add.
        """
        weight = self.base.weight
        if not weight.is_floating_point():
            raise CourseError(
                f"the base is in {'4' if hasattr(weight, 'quant_state') else '8'} bits: an adapter cannot be merged "
                "into it. ./course run 9 merge shows what else can be done."
            )
        # exercise 2: merge, into the weight
        # weight (out_features, in_features), perhaps in 16 bits; where is_transposed(self.base) it is (in_features,
        # out_features), as GPT-2's. Merging adds the change to it in place, where it is not merged yet; with sign -1 it
        # takes it out again, where it is. Nothing is added twice: self.merged tells, also forward, whether it is in.
        # The sum is made in float32 and rounded once, to the dtype of weight.
        # hint: sign tells the state that is wanted, self.merged the one that is there. Round neither the change nor the
        # weight before they are added, but their sum; Tensor.copy_ writes in place, and casts what it is given.
        if self.merged == (sign > 0):
            return
        change = self.delta().T if is_transposed(self.base) else self.delta()
        weight.copy_(weight.float() + sign * change)
        self.merged = sign > 0
        # end of exercise 2

    def unmerge(self) -> None:
        """Takes the change out again: exact up to rounding, which in 16 bits is not little."""
        self.merge(-1)


# ---------------------------------------------------------------- into a model


def is_transposed(layer: nn.Module) -> bool:
    """Whether it is GPT-2's kind of linear layer, transformers' Conv1D, with its weight (in_features, out_features)."""
    return type(layer).__name__ == "Conv1D"


def features(layer: nn.Module) -> tuple[int, int]:
    """(in_features, out_features) of a linear layer."""
    if is_transposed(layer):
        return tuple(layer.weight.shape)  # pyright: ignore
    return layer.in_features, layer.out_features


def adapters(model: nn.Module) -> dict[str, LoRALinear]:
    """{name: layer} of all LoRALinear in a model."""
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, LoRALinear)}


def linear_layers(model: nn.Module) -> dict[str, nn.Module]:
    """{name: layer} of all linear layers, also those of 4 and 8 bits, and GPT-2's."""
    return {name: x for name, x in model.named_modules() if isinstance(x, nn.Linear) or is_transposed(x)}


def head_of(model: nn.Module) -> nn.Module | None:
    """The layer that scores the tokens, in a language model of transformers."""
    return getattr(model, "get_output_embeddings", lambda: None)()


def matches(name: str, pattern: str) -> bool:
    """Whether a module is meant: by its last names (`q_proj`, `mlp.up_proj`), or by a pattern (`*.layers.1?.*`)."""
    return (
        name == pattern
        or name.endswith(f".{pattern}")
        or (bool(set(pattern) & set("*?[")) and fnmatchcase(name, pattern))
    )


def chosen(model: nn.Module, targets: str | Sequence[str]) -> list[str]:
    """The names of the linear layers that are meant.

    Args:
        model: of transformers, or any other.
        targets: "all-linear", which is all but the head; or names or patterns, see `matches`.

    Raises:
        CourseError: one of them matches nothing, with the names that there are; or a head that is tied.
    """
    found, head = linear_layers(model), head_of(model)
    inside = [name for name, layer in found.items() if layer is not head]
    patterns = [targets] if isinstance(targets, str) else list(targets)
    if patterns == ["all-linear"] and inside:
        return inside
    names = [name for name in found if any(matches(name, pattern) for pattern in patterns)]
    for pattern in patterns or [""]:
        if not any(matches(name, pattern) for name in found):
            there = ", ".join(sorted({name.rpartition(".")[2] for name in found})) or "none"
            raise CourseError(f"--targets {pattern}: no linear layer has that name; there are {there} (or all-linear).")
    tied = head is not None and getattr(model, "get_input_embeddings", lambda: None)()
    if tied and tied.weight is head.weight and any(found[name] is head for name in names):
        raise CourseError("--targets: the head shares its weights with the table of tokens: leave it out.")
    return names


def inject(
    model: nn.Module, targets: str | Sequence[str] = "all-linear", rank: int = 16, alpha: int | float = 32,
    dropout: float = 0.0, rslora: bool = False,
) -> list[str]:  # fmt: skip
    """Puts a LoRALinear in the place of each layer that is meant, and freezes everything else.

    Args:
        model: it is changed.
        targets: which layers, as of `chosen`.
        rank, alpha, dropout, rslora: as of LoRALinear.

    Returns:
        The names of the layers.

    Raises:
        CourseError: as `chosen`, or there are adapters already.
    """
    if adapters(model):
        raise CourseError("the model has adapters already: merge them, or load it anew.")
    names = chosen(model, targets)
    model.requires_grad_(False)
    for name in names:
        replace(model, name, LoRALinear(model.get_submodule(name), rank, alpha, dropout, rslora))
    return names


def replace(model: nn.Module, name: str, layer: nn.Module) -> None:
    """Puts another module where `name` is; it is in the same mode, training or evaluation."""
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, layer.train(model.training))


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """Inside `with`, the model answers as its base: a second copy is not needed."""
    layers = list(adapters(model).values())
    before = [layer.disabled for layer in layers]
    for layer in layers:
        layer.disabled = True
    try:
        yield
    finally:
        for layer, disabled in zip(layers, before, strict=True):
            layer.disabled = disabled


def merge(model: nn.Module) -> None:
    """Merges all adapters and takes them out: what remains is a plain model with other weights."""
    for name, layer in adapters(model).items():
        layer.merge()
        replace(model, name, layer.base)


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """(trainable, total) numbers. Weights of 4 bits lie two in a byte, and are counted as what they stand for."""
    trainable = total = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        count = math.prod(state.shape) if state is not None else parameter.numel()
        total += count
        trainable += count * parameter.requires_grad
    return trainable, total


# ---------------------------------------------------------------- files, as peft has them


def adapter_state(model: nn.Module) -> dict[str, Tensor]:
    """{name: tensor} of all A and B, under peft's names."""
    return {
        f"{PREFIX}{name}.{part}.weight": getattr(layer, part).detach()
        for name, layer in adapters(model).items()
        for part in ("lora_A", "lora_B")
    }


def save_adapter(model: nn.Module, folder: Path, base: str) -> None:
    """Writes the adapter as peft does: adapter_config.json and adapter_model.safetensors.

    Args:
        model: with LoRALinear in it.
        folder: it is made where it is missing.
        base: the name of the model that the adapter belongs to.
    """
    from safetensors.torch import save_file

    layers = adapters(model)
    first = next(iter(layers.values()))
    about: dict[str, Any] = {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "r": first.rank,
        "lora_alpha": first.alpha, "lora_dropout": first.dropout.p, "use_rslora": first.rslora, "bias": "none",
        "target_modules": sorted(layers), "fan_in_fan_out": is_transposed(first.base), "inference_mode": True,
        "rank_pattern": {name: x.rank for name, x in layers.items() if x.rank != first.rank},
    }  # fmt: skip
    with written_whole(Path(folder) / WEIGHTS) as temporary:
        save_file({name: x.cpu().contiguous() for name, x in adapter_state(model).items()}, temporary)
    write_json(Path(folder) / CONFIG, about)


def load_adapter(model: nn.Module, folder: Path) -> list[str]:
    """Puts an adapter that peft or `save_adapter` has written into a model, and freezes everything else.

    Returns:
        The names of the layers that it changes.

    Raises:
        CourseError: there is none, it is of another kind, or it belongs to another base: which layer, and its shape.
    """
    folder = Path(folder)
    if not (folder / CONFIG).is_file():
        raise CourseError(f"{folder}: no adapter, {CONFIG} is not there. Give a folder that train or peft has written.")
    about = read_json(folder / CONFIG)
    odd = [name for name in NOT_READ if about.get(name)] + ["bias"] * (about.get("bias", "none") != "none")
    if about.get("peft_type") != "LORA" or odd:
        kind = f"with {odd[0]}" if odd else f"of the kind {about.get('peft_type')}"
        raise CourseError(f"{folder}: an adapter {kind}: only plain LoRA is read here. peft loads the others.")
    state = read_tensors(folder / WEIGHTS)
    base = about.get("base_model_name_or_path") or "no name"
    check_base(model, state, f"{folder}: an adapter of another base ({base})")
    names = sorted({name.removeprefix(PREFIX).rpartition(".lora_")[0] for name in state})
    dropout, rslora = about.get("lora_dropout") or 0.0, bool(about.get("use_rslora"))
    model.requires_grad_(False)
    for name in names:
        a, b = (state[f"{PREFIX}{name}.lora_{part}.weight"] for part in "AB")
        layer = LoRALinear(model.get_submodule(name), len(a), about["lora_alpha"], dropout, rslora)
        with torch.no_grad():
            layer.lora_A.copy_(a)
            layer.lora_B.copy_(b)
        replace(model, name, layer)
    return names


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file.

    Raises:
        CourseError: it is not there, or not whole.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise CourseError(f"{path} is not there.")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise CourseError(f"{path} is not a whole safetensors file ({error}). Copy it again.") from None


def check_base(model: nn.Module, state: dict[str, Tensor], line: str) -> None:
    """Holds an adapter's tensors against the layers of a model; `line` is how the refusal begins."""
    if adapters(model):
        raise CourseError("the model has adapters already: merge them, or load it anew.")
    found = linear_layers(model)
    for key, tensor in state.items():
        name, _, part = key.removeprefix(PREFIX).partition(".lora_")
        if name not in found or part not in ("A.weight", "B.weight"):
            raise CourseError(f"{line}: it changes {name or key}, which this model has not.")
        other = f"{PREFIX}{name}.lora_{'B' if part[0] == 'A' else 'A'}.weight"
        if other not in state:
            raise CourseError(f"{line}: {name} has only one of its two matrices.")
        inputs, outputs = features(found[name])
        right = (tensor.shape[0], inputs) if part[0] == "A" else (outputs, state[other].shape[0])
        if tuple(tensor.shape) != right:
            raise CourseError(f"{line}: lora_{part[0]} of {name} is {tuple(tensor.shape)}, here it must be {right}.")
