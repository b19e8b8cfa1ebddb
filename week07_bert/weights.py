"""Published weights: a BERT or DistilBERT as transformers saves it, read and written.

Their names of the same tensors are others than ours, and stand in a table below. Queries, keys and values are three
matrices there and one here. What they have and we do not use (the pooler, next-sentence prediction) is passed over;
anything else that is missing, too much, or of another shape is refused by its name.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from shared.errors import CourseError
from shared.files import write_json, written_whole
from week07_bert.model import Bert, BertConfig, MaskedLMHead, SpanHead, TokenHead

CONFIG, WEIGHTS, VOCABULARY = "config.json", "model.safetensors", "vocab.txt"

# Ours, BERT's, DistilBERT's. Behind each name comes .weight or .bias; {} is the layer's number.
NAMES = (
    ("embeddings.word", "embeddings.word_embeddings", "embeddings.word_embeddings"),
    ("embeddings.position", "embeddings.position_embeddings", "embeddings.position_embeddings"),
    ("embeddings.kind", "embeddings.token_type_embeddings", ""),
    ("embeddings.norm", "embeddings.LayerNorm", "embeddings.LayerNorm"),
    ("layers.{}.attention.q", "encoder.layer.{}.attention.self.query", "transformer.layer.{}.attention.q_lin"),
    ("layers.{}.attention.k", "encoder.layer.{}.attention.self.key", "transformer.layer.{}.attention.k_lin"),
    ("layers.{}.attention.v", "encoder.layer.{}.attention.self.value", "transformer.layer.{}.attention.v_lin"),
    ("layers.{}.attention.output", "encoder.layer.{}.attention.output.dense", "transformer.layer.{}.attention.out_lin"),
    ("layers.{}.attention_norm", "encoder.layer.{}.attention.output.LayerNorm", "transformer.layer.{}.sa_layer_norm"),
    ("layers.{}.wide", "encoder.layer.{}.intermediate.dense", "transformer.layer.{}.ffn.lin1"),
    ("layers.{}.narrow", "encoder.layer.{}.output.dense", "transformer.layer.{}.ffn.lin2"),
    ("layers.{}.output_norm", "encoder.layer.{}.output.LayerNorm", "transformer.layer.{}.output_layer_norm"),
    ("mlm.dense", "cls.predictions.transform.dense", "vocab_transform"),
    ("mlm.norm", "cls.predictions.transform.LayerNorm", "vocab_layer_norm"),
    ("mlm", "cls.predictions", "vocab_projector"),  # its bias; the matrix is the table of embeddings
    ("span.output", "qa_outputs", "qa_outputs"),
    ("token.output", "classifier", "classifier"),
)
PASSED_OVER = re.compile(
    r"embeddings\.position_ids|(pooler|pre_classifier|cls\.seq_relationship|cls\.predictions\.decoder)\..*"
    r"|vocab_projector\.weight"
)
HEADS = {MaskedLMHead: "mlm.", SpanHead: "span.", TokenHead: "token."}


def in_our_names(theirs: Mapping[str, Tensor], layers: int) -> dict[str, Tensor]:
    """The state of a Bert… or DistilBert… of transformers under our names; its head's under mlm., span. or token.

    Raises:
        CourseError: it has a tensor that no such model of so many layers has.
    """
    known = {theirs.format(layer): ours.format(layer)
             for ours, *both in NAMES for theirs in both if theirs for layer in range(layers)}  # fmt: skip
    state: dict[str, Tensor] = {}
    for name, tensor in theirs.items():
        short = re.sub(r"^(bert|distilbert)\.", "", name)
        if PASSED_OVER.fullmatch(short):
            continue
        module, _, kind = short.rpartition(".")
        if module not in known:
            raise CourseError(f"{name} is no tensor of a BERT or DistilBERT of {layers} layers.")
        kind = {"gamma": "weight", "beta": "bias"}.get(kind, kind)  # what norms had in 2018
        state[f"{known[module]}.{kind}"] = tensor
    for q in [name for name in state if ".attention.q." in name]:  # three matrices become one
        three = [q.replace(".q.", f".{part}.") for part in "qkv"]
        if all(name in state for name in three):
            state[q.replace(".q.", ".qkv.")] = torch.cat([state.pop(name) for name in three])
    return state


def in_their_names(bert: Bert, head: MaskedLMHead | None = None) -> dict[str, Tensor]:
    """The state of an encoder as transformers' BertModel names it, or, with a head, BertForMaskedLM."""
    state = {f"bert.{name}" if head else name: tensor for name, tensor in bert.state_dict().items()}
    if head:
        state |= {f"mlm.{name}": tensor for name, tensor in head.state_dict().items()}
    for name in [name for name in state if ".qkv." in name]:
        for part, tensor in zip("qkv", state.pop(name).chunk(3), strict=True):
            state[name.replace(".qkv.", f".{part}.")] = tensor
    to = {ours.format(layer): theirs.format(layer)
          for ours, theirs, _ in NAMES for layer in range(bert.config.layers)}  # fmt: skip
    found = {}
    for name, tensor in state.items():
        module, _, kind = name.rpartition(".")
        bare = module.removeprefix("bert.")
        found[f"{'bert.' if bare != module else ''}{to[bare]}.{kind}"] = tensor.contiguous()
    return found


def load_pretrained(folder: Path | str, head: nn.Module | None = None) -> Bert:
    """The encoder in a folder with a config.json and a model.safetensors, in evaluation mode.

    Args:
        folder: of a BertModel, a DistilBertModel, or one of these with a head (BertFor…, DistilBertFor…).
        head: a MaskedLMHead, SpanHead or TokenHead, to be filled with what the checkpoint has for it.

    Raises:
        CourseError: a file is missing or damaged; a tensor is missing, too much, or of another shape; the checkpoint
            has no such head. One line that names it.
    """
    path = Path(folder) / WEIGHTS
    bert = Bert(BertConfig.from_json(path.with_name(CONFIG)))
    found = read_tensors(path)
    try:
        tensors = in_our_names(found, bert.config.layers)
    except CourseError as error:
        raise CourseError(f"{path}: {error}") from None
    fill(bert, {name: one for name, one in tensors.items() if not name.startswith(tuple(HEADS.values()))}, path)
    if head is not None:
        prefix = HEADS[type(head)]
        own = {name.removeprefix(prefix): one for name, one in tensors.items() if name.startswith(prefix)}
        if not own:
            raise CourseError(f"{path} has no weights for a {type(head).__name__}: it was trained for something else.")
        fill(head.eval(), own, path)
    return bert.eval()


def save_pretrained(folder: Path, bert: Bert, tokenizer: Any, head: MaskedLMHead | None = None) -> None:
    """Writes config.json, model.safetensors and vocab.txt, so that transformers' from_pretrained reads them, too."""
    from safetensors.torch import save_file

    config = {theirs: getattr(bert.config, ours) for ours, theirs in BertConfig.THEIRS["bert"].items()}
    config |= {"attention_probs_dropout_prob": bert.config.dropout, "hidden_act": "gelu", "model_type": "bert"}
    write_json(folder / CONFIG, config | {"architectures": ["BertForMaskedLM" if head else "BertModel"]})
    tokenizer.save(folder / VOCABULARY)
    with written_whole(folder / WEIGHTS) as temporary:
        save_file(in_their_names(bert, head), temporary, metadata={"format": "pt"})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; CourseError where it is not there, or not whole."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise CourseError(f"{path} is not there. (A pytorch_model.bin is not read, it could run code: convert it.)")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CourseError(f"{path} is damaged ({error}). Fetch it again.") from None


def fill(module: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Loads a state that must fit to the last name and shape."""
    own = module.state_dict()
    for what, names in (("lacks", own.keys() - state.keys()), ("has too much,", state.keys() - own.keys())):
        if names:
            more = f" and {len(names) - 1} more" * (len(names) > 1)
            raise CourseError(f"{path} {what} {min(names)}{more}: it is not what its {CONFIG} describes.")
    for name, tensor in state.items():
        if tensor.shape != own[name].shape:
            found, described = tuple(tensor.shape), tuple(own[name].shape)
            raise CourseError(f"{path}: {name} is {found}, but {CONFIG} describes {described}.")
    module.load_state_dict({name: tensor.float() for name, tensor in state.items()})


def check_vocabulary(config: BertConfig, tokenizer: Any) -> None:
    """CourseError where tokenizer and model are of different vocabularies. (Tables rounded up are let pass.)"""
    if not len(tokenizer) <= config.vocab_size < len(tokenizer) + 128:
        raise CourseError(
            f"tokenizer and model do not belong together: {len(tokenizer):,} tokens here, {config.vocab_size:,} there."
        )
