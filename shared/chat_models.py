"""A chat model: SmolLM2, which comes in a package; another of the hub by name; or a folder.

    tokenizer, model = chat_models.load("smollm2")                       # 32-bit floats, 0.54 GB
    tokenizer, model = chat_models.load("smollm2", quantize="nf4")       # its matrices in four bits, by bitsandbytes

Any causal language model that transformers knows will do, if its tokenizer has a chat template.
"""

import contextlib
import io
import logging as logs
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from shared import models
from shared.errors import CourseError

HUB = {
    "llama3": "meta-llama/Meta-Llama-3-8B-Instruct",
    "mistral": "mistralai/Mistral-7B-Instruct-v0.3",
    "smollm2-1.7b": "HuggingFaceTB/SmolLM2-1.7B-Instruct",
}
"""Short names for what the lessons tune on a GPU; --model takes every other name of the hub as well."""
PATTERNS = ["*.json", "*.safetensors", "*.jinja", "*.model"]
NOT = ["original/*", "consolidated*"]
"""The same weights once more, in their makers' own layout."""
Quantize = Literal["none", "int8", "nf4"]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keeps from the terminal what libraries say of themselves at import and while they load."""
    from transformers.utils import logging

    logs.getLogger("bitsandbytes").setLevel(logs.ERROR)  # it tells of a faster kernel later on, too
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def folder_of(name: str) -> Path:
    """The folder with config.json, the tokenizer's files and the weights of a model.

    Raises:
        CourseError: it is neither known nor a folder; its licence is to be accepted first; or the hub does not answer.
    """
    if name in models.MODELS:
        return models.fetch(name)
    path = Path(name).expanduser()
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise CourseError(f"--model {name}: no config.json in that folder. Give one as transformers saves it.")
        return path
    repository = HUB.get(name, name)
    if repository.count("/") != 1 or name.startswith((".", "/", "~")):
        known = ", ".join(["smollm2", *HUB])
        raise CourseError(f"--model {name}: no such folder, nor one of {known}, nor OWNER/NAME of the hub.")
    from huggingface_hub import errors, snapshot_download

    ask_the_hub(repository)
    try:
        return Path(snapshot_download(repository, allow_patterns=PATTERNS, ignore_patterns=NOT))
    except errors.GatedRepoError:
        raise CourseError(
            f"--model {name}: accept its licence at {models.HUB}/{repository}, then `hf auth login` with a token of "
            "that account; or take --model mistral, or the folder of a copy."
        ) from None
    except errors.RepositoryNotFoundError:
        raise CourseError(
            f"--model {name}: the hub has no {repository} (or not for you). Is it spelled right?"
        ) from None
    except Exception as error:  # whatever a library of the network raises where there is none
        raise CourseError(
            f"--model {name}: the hub does not answer ({type(error).__name__}). Fetch {', '.join(PATTERNS)} of "
            f"{repository} by hand, and give their folder as --model FOLDER."
        ) from None


def ask_the_hub(repository: str) -> None:
    """Says what is asked for: where no network is, the hub's library tries for half a minute. It does so in silence."""
    logs.getLogger("huggingface_hub").setLevel(logs.ERROR)
    print(f"asking the hub for {repository} ...", file=sys.stderr)


def load_tokenizer(name: str) -> Any:
    """The tokenizer of a model, with a token to pad with.

    Raises:
        CourseError: as folder_of; there is no tokenizer; or it has no chat template.
    """
    folder = folder_of(name)
    with quiet():
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except (OSError, ValueError, KeyError) as error:
            raise CourseError(f"--model {name}: no tokenizer that transformers reads ({_first(error)}).") from None
    if not tokenizer.chat_template:
        raise CourseError(
            f"--model {name}: its tokenizer has no chat template, so nobody knows how it is to be spoken to. Take its "
            "-Instruct or -chat variant, or put a chat_template.jinja into its folder."
        )
    if tokenizer.pad_token_id is None:  # never seen: it is masked, by length and not by its number
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    name: str, quantize: Quantize = "none", device: str = "cpu", dtype: str = "float32", double_quant: bool = True
) -> Any:
    """The model itself, in evaluation mode, on the device.

    Args:
        name: smollm2, a name of the hub, or a folder.
        quantize: none; int8 (LLM.int8, Dettmers et al., arXiv:2208.07339) or nf4 (QLoRA, arXiv:2305.14314) for the
            matrices inside its blocks; the embedding and the output stay in `dtype`.
        device: cpu, cuda or mps.
        dtype: of its weights, and of the products where they are quantised.
        double_quant: quantise the scales of nf4, too.

    Raises:
        CourseError: as folder_of; transformers cannot load it; or the device's memory is too small.
    """
    folder = folder_of(name)
    with quiet():
        import torch
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        number = getattr(torch, dtype)
        options: dict[str, Any] = {"dtype": number, "attn_implementation": "sdpa"}
        if quantize != "none":
            if device == "mps":
                raise CourseError(f"--quantize {quantize}: bitsandbytes computes on cpu and cuda only.")
            four = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_compute_dtype": number}
            four |= {"bnb_4bit_use_double_quant": double_quant}
            options["quantization_config"] = BitsAndBytesConfig(
                **(four if quantize == "nf4" else {"load_in_8bit": True})
            )
        if quantize != "none" or device == "cuda":  # straight to where it is to be, a shard at a time
            options["device_map"] = {"": device}
        try:
            model = AutoModelForCausalLM.from_pretrained(folder, **options)
        except torch.OutOfMemoryError:
            cure = "Take --quantize nf4" if quantize != "nf4" else "Take a smaller --model"
            raise CourseError(f"--model {name}: its weights alone do not fit into the memory. {cure}.") from None
        except (OSError, ValueError, ImportError) as error:
            raise CourseError(f"--model {name}: transformers cannot load it ({_first(error)}).") from None
    for module in model.modules():
        # Where a CPU has bf16 units, bitsandbytes repacks a 4-bit layer's weights at its first pass without gradients;
        # from then on it has no way back through them, and gradients are wrong without a word (0.50.2).
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return model.eval() if "device_map" in options else model.to(device).eval()


def load(name: str, quantize: Quantize = "none", device: str = "cpu", dtype: str = "float32") -> tuple[Any, Any]:
    """(tokenizer, model), as load_tokenizer and load_model make them."""
    return load_tokenizer(name), load_model(name, quantize, device, dtype)


def _first(error: Exception) -> str:
    """The first line of what a library says, shortened."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]


# ---------------------------------------------------------------- what of it learns


class Learned:
    """What of a model learns, as a part that a checkpoint holds: the frozen weights are the published ones, always."""

    def __init__(self, model: Any) -> None:
        self.parameters = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}

    def state_dict(self) -> dict[str, Any]:
        """A copy of them."""
        return {name: weight.detach().clone() for name, weight in self.parameters.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Raises RuntimeError where these are not the names and shapes of what learns."""
        if state.keys() != self.parameters.keys():
            raise RuntimeError("not the adapters of this model")
        for name, weight in self.parameters.items():
            if weight.shape != state[name].shape:
                raise RuntimeError(f"{name} has another shape")
            weight.data.copy_(state[name])
