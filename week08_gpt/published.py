"""Published networks as ours: GPT-2's checkpoints and Llama's, as transformers saves them, from a folder or the hub.

    model = load("openai-community/gpt2")        # or a folder with config.json and model.safetensors

Only names differ, and how matrices lie: GPT-2's are the other way round (its Conv1D computes x W), and Llama's queries,
keys and values are three matrices, where ours are one.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from shared.errors import CourseError
from shared.files import read_json
from week08_gpt.model import GPT, GPTConfig

FILES = ["config.json", "*.safetensors", "model.safetensors.index.json", "vocab.json", "merges.txt"]
GPT2 = {
    "wte": "tokens", "wpe": "places", "ln_f": "norm", "ln_1": "norm1", "ln_2": "norm2",
    "attn.c_attn": "attention.in_proj", "attn.c_proj": "attention.out_proj",
    "mlp.c_fc": "mlp.up", "mlp.c_proj": "mlp.down",
}  # fmt: skip
LLAMA = {
    "embed_tokens": "tokens", "norm": "norm", "lm_head": "head",
    "input_layernorm": "norm1", "post_attention_layernorm": "norm2", "self_attn.o_proj": "attention.out_proj",
    "mlp.gate_proj": "mlp.gate", "mlp.up_proj": "mlp.up", "mlp.down_proj": "mlp.down",
    **{f"self_attn.{name}_proj": f"attention.{name}" for name in "qkv"},
}  # fmt: skip


def config_of(found: Mapping[str, Any]) -> GPTConfig:
    """Our config for a config.json of transformers.

    Raises:
        CourseError: it is of another family, or has a choice that our model does not.
    """
    kind = found.get("model_type")
    activation = found.get("activation_function", found.get("hidden_act", ""))
    rope = found.get("rope_parameters") or found.get("rope_scaling") or {}
    width = found.get("hidden_size", 0) // (found.get("num_attention_heads") or 1)
    foreign = {
        "model_type": kind not in ("gpt2", "llama"),
        "activation_function": kind == "gpt2" and activation not in ("gelu_new", "gelu_pytorch_tanh"),
        "hidden_act": kind == "llama" and activation != "silu",
        "rope_type": rope.get("rope_type", rope.get("type", "default")) != "default",
        "scale_attn_by_inverse_layer_idx": found.get("scale_attn_by_inverse_layer_idx", False),
        "head_dim": kind == "llama" and (found.get("head_dim") or width) != width,
        "attention_bias": kind == "llama" and found.get("attention_bias", False) != found.get("mlp_bias", False),
    }
    for name, bad in foreign.items():
        if bad:
            value = found.get(name, rope.get(name))
            raise CourseError(f"config.json: {name} {value!r}: only GPT-2's and Llama's own architecture is read.")
    try:
        if kind == "gpt2":
            return GPTConfig(
                found["vocab_size"], found.get("n_positions", 1024), found["n_layer"], found["n_head"],
                d_model=found["n_embd"], d_ff=found.get("n_inner") or 0, eps=found.get("layer_norm_epsilon", 1e-5),
                tied=found.get("tie_word_embeddings", True),
            )  # fmt: skip
        theta = found.get("rope_theta", rope.get("rope_theta", 10_000.0))
        return GPTConfig(
            found["vocab_size"], found["max_position_embeddings"], found["num_hidden_layers"],
            found["num_attention_heads"], found.get("num_key_value_heads") or 0, found["hidden_size"],
        ).llama(
            d_ff=found["intermediate_size"], eps=found.get("rms_norm_eps", 1e-6), rope_theta=theta,
            tied=found.get("tie_word_embeddings", False), bias=found.get("attention_bias", False),
        )  # fmt: skip
    except KeyError as error:
        raise CourseError(f"config.json: {error} is missing.") from None


def renamed(config: GPTConfig, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a GPT2LMHeadModel or a LlamaForCausalLM under our names, as ours lie; also of a bare GPT2Model."""
    llama, ours = config.positions == "rope", {}
    for name, tensor in tensors.items():
        found = re.fullmatch(r"(?:transformer\.|model\.)?(?:(?:h|layers)\.(\d+)\.)?(.+)\.(weight|bias)", name)
        known = (LLAMA if llama else GPT2 | {"lm_head": "head"}).get(found[2] if found else "")
        if known is None or (known == "head" and config.tied):
            continue  # a buffer (GPT-2's masks), or the tied matrix once more
        layer = f"blocks.{found[1]}." if found[1] else ""
        conv = not llama and layer and tensor.ndim == 2
        ours[f"{layer}{known}.{found[3]}"] = (tensor.T if conv else tensor).float().contiguous()
    for name in [name for name in ours if ".attention.q." in name]:
        parts = [ours.pop(name.replace(".q.", f".{part}.")) for part in "qkv"]
        ours[name.replace(".q.", ".in_proj.")] = torch.cat(parts)
    return ours


def load(source: str | Path) -> GPT:
    """A network with published weights, in evaluation mode.

    Args:
        source: a folder as transformers' save_pretrained writes it, or a name on the hub (openai-community/gpt2).

    Raises:
        CourseError: it is not there, of another architecture, or not whole.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    folder = folder_of(source)
    config = config_of(read_json(folder / "config.json"))
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise CourseError(f"{folder}: no *.safetensors file. Save it with transformers' save_pretrained.")
    tensors: dict[str, Tensor] = {}
    for file in files:
        try:
            tensors |= load_file(file)
        except (SafetensorError, OSError) as error:
            raise CourseError(f"{file} is not a whole safetensors file ({error}).") from None
    model = GPT(config)
    try:
        model.load_state_dict(renamed(config, tensors))
    except (RuntimeError, KeyError) as error:
        first = next(line.strip() for line in reversed(str(error).splitlines()) if line.strip())
        raise CourseError(f"{folder}: the weights do not fit config.json ({first:.200}).") from None
    return model.eval()


def folder_of(source: str | Path) -> Path:
    """The folder itself, or that with the files of a repository of the hub, which are brought once.

    Raises:
        CourseError: there is no such folder, and the hub does not give it.
    """
    if Path(source).is_dir():
        return Path(source)
    from huggingface_hub import snapshot_download

    name = str(source)
    try:
        return Path(snapshot_download(name, allow_patterns=FILES))
    except Exception as error:  # of any of the many kinds that the client and its transport have
        why = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CourseError(
            f"{name}: no such folder, and the hub does not give it ({why:.150}). "
            "Download config.json, model.safetensors, vocab.json and merges.txt by hand and give their folder."
        ) from None
