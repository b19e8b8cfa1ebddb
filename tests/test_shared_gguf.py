"""A language model out of a GGUF file: the same numbers, once, all of it or nothing. Made here, and tiny."""

import json

import pytest
import torch
from programs import Lazily, close

from shared import gguf as shared_gguf

hf, gguf = Lazily("transformers"), Lazily("gguf")
PIECES = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"abcdefgh", "Ġ", "ab", "Ġa"]
SIZES = {"vocab_size": len(PIECES), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
SIZES |= {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "rms_norm_eps": 1e-5}
NAMES = {
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
}  # fmt: skip


def turned(weight, heads):
    """Rows of queries or keys in the order that a GGUF file has: pairs that are turned together are neighbours."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(weight.shape)


def write(model, path):
    """A Llama in one file, with a byte-pair tokenizer of few pieces, as llama.cpp's converter writes it."""
    writer, config = gguf.GGUFWriter(str(path), "llama"), model.config
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(64)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10_000.0)
    writer.add_rope_dimension_count(8)
    writer.add_vocab_size(config.vocab_size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(PIECES)
    writer.add_token_types([3, 3, 3] + [1] * (len(PIECES) - 3))
    writer.add_token_merges(["a b", "Ġ a"])
    for number, name in enumerate(("bos", "eos", "unk")):
        getattr(writer, f"add_{name}_token_id")(min(number, 1))
    writer.add_chat_template("{% for m in messages %}<|im_start|>{{ m['content'] }}<|im_end|>{% endfor %}")
    state = {name: x.float().numpy() for name, x in model.state_dict().items()}
    for name, theirs in (("embed_tokens", "token_embd"), ("norm", "output_norm")):
        writer.add_tensor(f"{theirs}.weight", state[f"model.{name}.weight"])
    writer.add_tensor("output.weight", state["lm_head.weight"])
    heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
    for layer in range(config.num_hidden_layers):
        for name, theirs in NAMES.items():
            weight = state[f"model.layers.{layer}.{name}.weight"]
            weight = turned(weight, heads[name]) if name in heads else weight
            writer.add_tensor(f"blk.{layer}.{theirs}.weight", weight)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """(the Llama, its file) before it is turned."""
    torch.manual_seed(0)
    model = hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES)).eval()
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write(model, path)
    return model, path


def test_an_interrupted_one_leaves_no_weights(tiny, monkeypatch):
    """Whatever ends it on the way, the file that says that all is there is not."""
    _, path = tiny

    def stopped(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(shared_gguf, "tidy", stopped)
    with pytest.raises(KeyboardInterrupt):
        shared_gguf.convert(path, "<|im_end|>")
    assert [one.name for one in path.parent.iterdir() if not one.name.startswith(".")] == ["tiny.gguf"]
    assert not [one for one in path.parent.iterdir() if one.name.startswith(".converting-")]


def test_it_computes_what_the_file_says(tiny, capsys, monkeypatch):
    model, path = tiny
    folder = shared_gguf.convert(path, "<|im_end|>")
    assert folder == path.parent and all(
        (folder / name).is_file() for name in (*shared_gguf.FILES, shared_gguf.WEIGHTS)
    )
    assert "once" in capsys.readouterr().out
    loaded = hf.AutoModelForCausalLM.from_pretrained(folder).eval()
    ids = torch.arange(len(PIECES))[None]
    close(loaded(ids).logits, model(ids).logits, "logits", 1e-5)
    tokenizer = hf.AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token == tokenizer.pad_token == "<|im_end|>"
    assert tokenizer("ab a").input_ids == [PIECES.index("ab"), PIECES.index("Ġa")]
    asked = tokenizer.apply_chat_template([{"role": "user", "content": "ab"}], tokenize=False)
    assert asked == "<|im_start|>ab<|im_end|>"
    assert loaded.config.eos_token_id == loaded.config.pad_token_id == 2
    settings = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert str(folder) not in json.dumps(settings) and "gguf_file" not in settings

    def again(*_):
        raise AssertionError("turned a second time")

    monkeypatch.setattr(shared_gguf, "_convert", again)
    assert shared_gguf.convert(path, "<|im_end|>") == folder
    assert capsys.readouterr().out == ""
