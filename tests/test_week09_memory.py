"""Week 9's prediction of memory: its parts by hand, against the count of tensors, and what it says."""

import json

import pytest
import torch
from programs import Lazily, config, refused

from week09_lora import memory as week
from week09_lora import model as lora
from week09_lora.memory import Shape, predict

hf = Lazily("transformers")
SMALL = Shape(64, 192, 6, 4, 2, 100)
WIDE = Shape(64, 128, 2, 4, 2, 2000, tied=True)  # its logits weigh most


def llama(shape, dtype="float32"):
    torch.manual_seed(0)
    return hf.LlamaForCausalLM(hf.LlamaConfig(
        vocab_size=shape.vocab, hidden_size=shape.hidden, intermediate_size=shape.inner,
        num_hidden_layers=shape.layers, num_attention_heads=shape.heads, num_key_value_heads=shape.kv_heads,
        attn_implementation="sdpa", tie_word_embeddings=shape.tied,
    )).to(getattr(torch, dtype))  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "rank", "dtype", "checkpointing", "accumulate"),
    [
        (SMALL, 8, "float32", False, 1),
        (SMALL, 8, "bfloat16", True, 2),
        (SMALL, 0, "float32", True, 1),
        (WIDE, 8, "float32", False, 1),
        (WIDE, 0, "float32", False, 2),
    ],
)
def test_the_prediction_is_within_a_tenth_of_the_count(shape, rank, dtype, checkpointing, accumulate):
    """Two steps of a small Llama on a CPU, every tensor followed, against what the sizes alone say."""
    model = llama(shape, dtype)
    if rank:
        lora.inject(model, rank=rank)
    if checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    counted = week.measure(model, shape.vocab, 4, 48, accumulate)
    found = predict(shape, rank, 4, 48, "none", dtype, checkpointing, accumulate)
    assert found.peak == pytest.approx(counted, rel=0.1)
    learns, total = lora.count_parameters(model)
    assert (found.gradients, found.adapters) == (4 * learns, 4 * learns * bool(rank))
    assert found.weights == (2 if dtype == "bfloat16" else 4) * (total - learns * bool(rank))


def test_four_bits_are_counted_as_bitsandbytes_stores_them(tmp_path):
    llama(SMALL).save_pretrained(tmp_path)
    how = hf.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )  # fmt: skip
    model = hf.AutoModelForCausalLM.from_pretrained(tmp_path, quantization_config=how, dtype=torch.float32)
    lora.inject(model, rank=8)
    counted = week.measure(model, SMALL.vocab, 4, 48)
    assert predict(week.shape_of(str(tmp_path)), 8, 4, 48, "nf4").peak == pytest.approx(counted, rel=0.1)


def test_a_count_sees_what_is_freed():
    model = torch.nn.Linear(10, 10)
    own = 4 * (100 + 10)

    def work():
        for _ in range(3):
            torch.zeros(1000)
        torch.zeros(500) + torch.zeros(500)

    assert week.measured_peak(model, work) == own + 4 * 1500


def test_parts_by_hand():
    """8 B parameters: 15 GiB in 16 bits; in NF4 the matrices take 4.127 bits each, the rest stays."""
    shape = week.KNOWN["llama3"]
    assert shape.inside + shape.outside == 8_030_261_248
    assert week.KNOWN["smollm2"].inside + week.KNOWN["smollm2"].outside == 134_515_008
    half, four = (predict(shape, dtype="float16", quantize=how).weights for how in ("none", "nf4"))
    assert half == 2 * 8_030_261_248
    assert four == pytest.approx(shape.inside * 4.127 / 8 + 2 * shape.outside, rel=1e-4)
    found = predict(week.KNOWN["smollm2"], rank=16)
    assert found.adapters == 4 * 16 * 30 * (1152 + 2 * 768 + 1152 + 3 * 2112) and found.optimizer == 2 * found.adapters


def test_what_saves_memory():
    shape, given = week.KNOWN["llama3"], {"batch": 4, "length": 1024, "dtype": "float16", "quantize": "nf4"}
    before = predict(shape, **given)
    for change in (
        {"checkpointing": True},
        {"accumulate": 4},
        {"length": 512},
        {"rank": 4},
        {"optimizer": "paged_adamw8bit"},
    ):
        assert predict(shape, **given | change).peak < before.peak, change
    assert predict(shape, **given | {"quantize": "none"}).weights > 2.5 * before.weights
    assert predict(shape, **given | {"targets": ("q_proj", "v_proj")}).adapters < before.adapters / 4


def test_qlora_as_peft_prepares_it_can_need_more_than_lora():
    shape, given = week.KNOWN["smollm2"], {"batch": 8, "length": 512, "dtype": "float16"}
    lora_needs = predict(shape, **given).peak
    assert predict(shape, **given, quantize="nf4", prepared=True).peak > lora_needs
    assert predict(shape, **given, quantize="nf4").peak < lora_needs


def test_it_says_what_to_change(capsys):
    cfg = config(week, "--model", "llama3", "--dtype", "float16", "--batch-size", 4, "--max-len", 1024)
    told = week.advice(cfg)
    assert told.startswith(
        "does not fit a T4: 45.59 of 14.2 GiB. With --checkpointing --accumulate 4 --quantize nf4 it takes "
    )
    assert week.advice(config(week)).startswith("fits a T4: ")
    assert week.advice(config(week, "--model", "llama3", "--rank", 0)).startswith("does not fit a")
    week.main(config(week, "--dtype", "float16", "--max-len", 1024))
    out = capsys.readouterr().out
    assert "| peak |" in out and "QLoRA as peft prepares it needs more than LoRA here" in out


def test_models_that_cannot_be_counted_are_refused(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"hidden_size": 8}), encoding="utf-8")
    line = f"{tmp_path / 'config.json'}: intermediate_size is missing; only models of Llama's shape are counted."
    assert refused(week.shape_of, str(tmp_path)) == line
    assert refused(week.shape_of, "no/such").startswith(
        "--model no/such: no folder with a config.json, none of smollm2"
    )
