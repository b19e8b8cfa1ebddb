"""Week 9 against peft, transformers and bitsandbytes: the same adapters, the same files, the same numbers.

The one file of the week's core that imports them. Everything is tiny, random and made here.
"""

import json

import pytest
import torch
from programs import Lazily, close, config, refused

from shared import chat_models
from week09_lora import model as week
from week09_lora import quant

bench, export = Lazily("week09_lora.bench"), Lazily("week09_lora.merge")
hf, peft, bnb = Lazily("transformers"), Lazily("peft"), Lazily("bitsandbytes")


def llama():
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=40, num_key_value_heads=2, **shape))


def gpt2():
    off = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0, "bos_token_id": 0, "eos_token_id": 0}
    return hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=40, n_positions=24, n_embd=24, n_layer=2, n_head=3, **off))


MADE = {"llama": llama, "gpt2": gpt2}


def base(kind):
    """The same small network each time."""
    torch.manual_seed(3)
    return MADE[kind]().eval()


def trained(model, parts=("lora_A", "lora_B")):
    """Fills the adapters of a model, ours or peft's, with numbers that matter."""
    draw = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in parts):
                parameter.copy_(0.05 * torch.randn(parameter.shape, generator=draw))
    return model


IDS = torch.randint(0, 40, (2, 9), generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("rslora", [False, True])
@pytest.mark.parametrize(("kind", "targets"), [("llama", "all-linear"), ("llama", ("q_proj", "v_proj")),
                                               ("gpt2", "all-linear")])  # fmt: skip
def test_logits_and_gradients_equal_peft(kind, targets, rslora, tmp_path):
    """Ours is saved and peft loads it: the same logits, and the same gradients of A and B."""
    ours = base(kind)
    week.inject(ours, targets, rank=4, alpha=12.0, rslora=rslora)
    trained(ours)
    week.save_adapter(ours, tmp_path, "tiny")
    theirs = peft.PeftModel.from_pretrained(base(kind), tmp_path, is_trainable=True)
    mine, other = ours(IDS).logits, theirs(IDS).logits
    close(mine, other, "logits", 1e-5)
    assert not torch.allclose(mine, base(kind)(IDS).logits, atol=1e-3)
    upstream = torch.randn(other.shape, generator=torch.Generator().manual_seed(6))
    mine.backward(upstream)
    other.backward(upstream)
    expected = {name: p.grad for name, p in theirs.named_parameters() if p.requires_grad}
    found = {name: p.grad for name, p in ours.named_parameters() if p.requires_grad}
    assert len(found) == len(expected)
    for name, gradient in found.items():
        close(gradient, expected[f"{week.PREFIX}{name}.default.weight"], f"the gradient of {name}", 1e-5)
    assert week.count_parameters(ours) == theirs.get_nb_trainable_parameters()


@pytest.mark.parametrize(("kind", "targets"), [("llama", "all-linear"), ("llama", ["q_proj", "mlp.up_proj"]),
                                               ("llama", r".*\.1\..*_proj"), ("gpt2", ["c_attn"])])  # fmt: skip
def test_theirs_is_loaded_and_merged(kind, targets, tmp_path):
    settings = peft.LoraConfig(r=3, lora_alpha=5, use_rslora=True, target_modules=targets, task_type="CAUSAL_LM",
                               rank_pattern={"q_proj": 2}, fan_in_fan_out=kind == "gpt2")  # fmt: skip
    theirs = trained(peft.get_peft_model(base(kind), settings)).eval()
    theirs.save_pretrained(tmp_path)
    ours = base(kind)
    week.load_adapter(ours, tmp_path)
    expected = theirs(IDS).logits
    close(ours(IDS).logits, expected, "logits", 1e-5)
    week.merge(ours)
    close(ours(IDS).logits, expected, "logits after merge", 1e-5)
    merged = theirs.merge_and_unload().state_dict()
    for name, tensor in ours.state_dict().items():
        close(tensor, merged[name], f"merged {name}", 1e-6)


def test_what_is_written_is_what_peft_writes(tmp_path):
    ours = base("llama")
    week.inject(ours, ("q_proj",), rank=4)
    week.save_adapter(ours, tmp_path / "ours", "tiny")
    settings = peft.LoraConfig(r=4, lora_alpha=32, target_modules=["q_proj"], task_type="CAUSAL_LM")
    peft.get_peft_model(base("llama"), settings).save_pretrained(tmp_path / "theirs")
    mine, other = (json.loads((tmp_path / name / week.CONFIG).read_text("utf-8")) for name in ("ours", "theirs"))
    assert mine.keys() <= other.keys()
    tensors = [week.read_tensors(tmp_path / name / week.WEIGHTS) for name in ("ours", "theirs")]
    assert {n: (t.shape, t.dtype) for n, t in tensors[0].items()} == {
        n: (t.shape, t.dtype) for n, t in tensors[1].items()
    }


def test_tied_heads_are_left_alone():
    line = "--targets: the head shares its weights with the table of tokens: leave it out."
    assert refused(week.inject, base("gpt2"), ("c_attn", "lm_head")) == line
    assert not any("lm_head" in name for name in week.inject(base("gpt2")))


@pytest.fixture
def in_four_bits(tmp_path):
    """The small Llama as BitsAndBytesConfig loads it."""
    base("llama").save_pretrained(tmp_path / "base")
    how = hf.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )  # fmt: skip
    model = hf.AutoModelForCausalLM.from_pretrained(tmp_path / "base", quantization_config=how, dtype=torch.float32)
    return model.train()  # in evaluation bitsandbytes computes in bfloat16, where the processor has it


def test_qlora_on_bitsandbytes_equals_lora_on_dequantised_weights(in_four_bits):
    """A frozen base of 4 bits with adapters, against the same in float32 with the weights that the bits stand for."""
    plain, rounded = base("llama"), base("llama")
    quant.round_to_nf4(rounded)
    layers, head = week.linear_layers(in_four_bits), week.head_of(in_four_bits)
    for name, layer in layers.items():
        if layer is not head:
            weight = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state)
            plain.get_submodule(name).weight.data.copy_(weight)
            off = quant.rms(weight - rounded.get_submodule(name).weight) / quant.rms(weight)
            assert off < 0.003, f"{name}: {off:.4f} of what round_to_nf4 gives"  # a few scales' codes are off by one
    for model in (in_four_bits, plain):
        week.inject(model, rank=4)
        trained(model)
    mine, other = in_four_bits(IDS).logits, plain(IDS).logits
    close(mine, other, "logits", 1e-5)
    upstream = torch.randn(other.shape, generator=torch.Generator().manual_seed(6))
    mine.backward(upstream)
    other.backward(upstream)
    expected = dict(plain.named_parameters())
    trainable = [(name, p.grad) for name, p in in_four_bits.named_parameters() if p.requires_grad]
    assert len(trainable) == 28
    for name, gradient in trainable:
        close(gradient, expected[name].grad, f"the gradient of {name}", 1e-5)
    assert week.count_parameters(in_four_bits) == week.count_parameters(plain)
    assert refused(week.merge, in_four_bits).startswith("the base is in 4 bits")


def test_lora_on_a_base_of_8_bits_is_within_a_hundredth_of_lora_on_what_the_bits_stand_for(tmp_path):
    """LLM.int8 rounds what goes into a matrix, too, so here no equality: about 0.4 % of a gradient is the rounding."""
    base("llama").save_pretrained(tmp_path)
    eight, plain = chat_models.load_model(str(tmp_path), "int8").train(), base("llama")
    for name, layer in week.linear_layers(eight).items():
        if layer is not week.head_of(eight):
            assert layer.weight.dtype == torch.int8
            weight = plain.get_submodule(name).weight.data
            weight.copy_(quant.dequantise_int8(*quant.quantise_int8(weight)))
    for model in (eight, plain):
        week.inject(model, rank=4)
        trained(model)
    upstream = torch.randn(2, 9, 40, generator=torch.Generator().manual_seed(6))
    for model in (eight, plain):
        model(IDS).logits.float().backward(upstream)
    expected = dict(plain.named_parameters())
    gradients = [(name, p.grad) for name, p in eight.named_parameters() if p.requires_grad]
    assert len(gradients) == 28
    for name, gradient in gradients:
        off = (gradient - expected[name].grad).norm() / expected[name].grad.norm()
        assert off < 0.01, f"the gradient of {name} is off by {off:.1%}"
    assert refused(week.merge, eight).startswith("the base is in 8 bits")


class NoTokenizer:
    """What `save` needs of a tokenizer."""

    def save_pretrained(self, folder):
        return folder


def test_exported_models_answer_as_the_adapter_did(tmp_path):
    """Saved and loaded again: merged into float32 as the adapter on it, merged into NF4 as the adapter on that. What
    was trained on the one is off on the other, and further off when the sum is rounded again."""
    base("llama").save_pretrained(tmp_path / "base")
    found = {}
    for rounded in (False, True):
        model = base("llama")
        if rounded:
            quant.round_to_nf4(model)
        week.inject(model, rank=4)
        trained(model)
        week.save_adapter(model, tmp_path / "adapter", "tiny")  # the same one both times
        out = tmp_path / f"merged {rounded}"
        for _ in range(2):  # over an older one, too
            export.save(export.merged(str(tmp_path / "base"), tmp_path / "adapter", rounded), NoTokenizer(), out)
        loaded = hf.AutoModelForCausalLM.from_pretrained(out).eval()
        close(loaded(IDS).logits, model(IDS).logits, f"logits of the merged model, rounded: {rounded}", 1e-5)
        found[rounded] = loaded
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    right = found[False](IDS).logits
    before = quant.rms(found[True](IDS).logits - right)
    quant.round_to_nf4(found[True])
    assert quant.rms(found[True](IDS).logits - right) > before > 1e-3


def test_bench_compares_with_peft_and_counts_bytes(tmp_path):
    found = bench.main(config(bench, "--preset", "smoke", "--out", tmp_path))
    assert set(found["step, 1 threads"]) == {"ours", "peft"}
    assert set(found["merged, 1 threads"]) == {"merged", "adapters beside it", "base"}
    sizes = {name: one["ratio"] for name, one in found["size, 1 threads"].items()}
    assert sizes["NF4, ours"] == sizes["NF4, bitsandbytes"] > 5.5
    assert sizes["llama3, NF4, the rest in 16 bits"] > 5.5 and (tmp_path / "bench.json").is_file()
