"""A language model in one GGUF file, turned into the folder that transformers loads: once, and quickly from then on.

A GGUF file has the weights (here in four bits a number), the tokenizer and the chat template. What is written are the
weights as float32, exactly the numbers that the four bits stand for; so it computes what the file's own programs do,
and not quite what the network computed before it was quantised.
"""

import json
import shutil
import tempfile
from pathlib import Path

from filelock import FileLock

FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
WEIGHTS = "model.safetensors"  # written last: where it is, all of it is


def convert(path: Path, end: str) -> Path:
    """The folder of `path`, with config, tokenizer and weights beside it; they are made when they are not there yet.

    Args:
        path: the GGUF file of a Llama-shaped network.
        end: the token that ends an answer, and pads.
    """
    folder = path.parent
    with FileLock(folder / ".converting.lock"):
        if not (folder / WEIGHTS).exists():
            print(f"turning {path.name} into {WEIGHTS}, once (half a minute) …", flush=True)
            _convert(path, end)
    return folder


def _convert(path: Path, end: str) -> None:
    from transformers import AutoTokenizer, GenerationConfig, LlamaForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    tokenizer.eos_token = tokenizer.pad_token = end
    loaded = LlamaForCausalLM.from_pretrained(path.parent, gguf_file=path.name)
    config = loaded.config
    del config.quantization_config  # or transformers takes it for a network that still is quantised
    config._name_or_path = ""
    config.eos_token_id = config.pad_token_id = tokenizer.eos_token_id
    model = LlamaForCausalLM(config)
    model.load_state_dict(loaded.state_dict())
    special = {name: getattr(config, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    model.generation_config = GenerationConfig(**special)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".converting-") as beside:
        model.save_pretrained(beside)
        tokenizer.save_pretrained(beside)
        tidy(Path(beside) / "tokenizer_config.json")
        for name in (*FILES, WEIGHTS):
            shutil.move(Path(beside) / name, path.parent / name)


def tidy(path: Path) -> None:
    """Takes out of a tokenizer's settings what names this machine's folders."""
    settings = json.loads(path.read_text(encoding="utf-8"))
    settings = {name: value for name, value in settings.items() if name not in ("name_or_path", "gguf_file")}
    path.write_text(json.dumps(settings, indent=2, ensure_ascii=False), encoding="utf-8")
