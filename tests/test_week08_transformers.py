"""Week 8 against transformers: GPT-2, Llama, the filters and generate; and against the tokenizers library.

The one file of the week that imports them. Everything is tiny, random and made here.
"""

import json

import numpy as np
import pytest
import torch
from programs import Lazily, close, config, refused

from week08_gpt import published, sample
from week08_gpt import tokenizer as tokens
from week08_gpt.sample import Sampling

hf = Lazily("transformers")
SAMPLES = [
    Sampling(temperature=0.7), Sampling(top_k=5), Sampling(top_p=0.6), Sampling(min_p=0.05),
    Sampling(repetition_penalty=1.3), Sampling(0.7, 12, 0.8, 0.02, 1.2), Sampling(1.8, 3, 0.3, 0.5, 0.7),
]  # fmt: skip


def gpt2():
    off = {"resid_pdrop": 0, "embd_pdrop": 0, "attn_pdrop": 0, "bos_token_id": 0, "eos_token_id": 0}
    return hf.GPT2LMHeadModel(hf.GPT2Config(vocab_size=19, n_positions=24, n_embd=24, n_layer=2, n_head=3, **off))


def llama(kv_heads=3, tied=False, theta=10_000.0):
    shape = {"hidden_size": 24, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 3}
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": theta}, "max_position_embeddings": 24}
    more = {"num_key_value_heads": kv_heads, "tie_word_embeddings": tied}
    return hf.LlamaForCausalLM(hf.LlamaConfig(vocab_size=19, **shape, **rope, **more))


MADE = {
    "gpt2": gpt2,
    "llama": llama,
    "llama with one head of keys": lambda: llama(1),
    "llama, tied, theta 500": lambda: llama(1, True, 500.0),
}


@pytest.fixture(scope="module", params=list(MADE))
def both(request, tmp_path_factory):
    """(ours, theirs, folder): one of transformers' with weights that all matter, saved as it saves, loaded as ours."""
    torch.manual_seed(3)
    theirs = MADE[request.param]().eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    folder = tmp_path_factory.mktemp("published")
    theirs.save_pretrained(folder)
    return published.load(folder), theirs, folder


def ids_of(batch, time):
    return torch.randint(0, 19, (batch, time), generator=torch.Generator().manual_seed(5))


def test_logits_and_gradients_equal_transformers(both):
    ours, theirs, _ = both
    ids = ids_of(2, 11)
    mine, other = ours(ids), theirs(ids).logits
    close(mine, other, "logits", 1e-5)
    upstream = torch.randn(other.shape, generator=torch.Generator().manual_seed(6))
    mine.backward(upstream)
    other.backward(upstream)
    named = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    expected = published.renamed(ours.config, named)
    found = {name: parameter.grad for name, parameter in ours.named_parameters()}
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        close(gradient, expected[name], f"the gradient of {name}", 1e-5)


def test_greedy_writing_equals_generate(both):
    ours, theirs, _ = both
    prompts = [[1, 2, 3, 4], [7, 8]]
    mine = sample.generate(ours, prompts, Sampling(0), 12)
    for prompt, written in zip(prompts, mine, strict=True):
        expected = theirs.generate(
            torch.tensor([prompt]), max_new_tokens=12, min_new_tokens=12, do_sample=False, pad_token_id=0,
            suppress_tokens=None, eos_token_id=None,
        )  # fmt: skip
        assert written == expected[0, len(prompt) :].tolist()


def test_checkpoints_without_prefix_with_masks_and_in_several_files(both, tmp_path):
    """As openai-community/gpt2 lies on the hub: h.0.…, the causal masks beside; and large ones come in pieces."""
    from safetensors.torch import load_file, save_file

    ours, _, folder = both
    weights = load_file(folder / "model.safetensors")
    bare = {name.removeprefix("transformer.").removeprefix("model."): x for name, x in weights.items()}
    if ours.config.positions == "learned":
        bare |= {"h.0.attn.bias": torch.ones(1, 1, 24, 24), "h.0.attn.masked_bias": torch.tensor(-1e4)}
    names = sorted(bare)
    for number, part in enumerate((names[::2], names[1::2]), 1):
        save_file({name: bare[name] for name in part}, tmp_path / f"model-0000{number}-of-00002.safetensors")
    (tmp_path / "config.json").write_text((folder / "config.json").read_text(encoding="utf-8"), encoding="utf-8")
    found = published.load(tmp_path)
    assert all(torch.equal(x, found.state_dict()[name]) for name, x in ours.state_dict().items())


CONFIG = {"model_type": "gpt2", "vocab_size": 19, "n_positions": 8, "n_embd": 6, "n_layer": 1, "n_head": 2}
CONFIG |= {"activation_function": "gelu_new"}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"model_type": "bert"}, "config.json: model_type 'bert': only GPT-2's and Llama's own architecture is read."),
        (
            {"activation_function": "relu"},
            "config.json: activation_function 'relu': only GPT-2's and Llama's own architecture is read.",
        ),
        (
            {"model_type": "llama", "hidden_act": "silu", "rope_scaling": {"rope_type": "llama3"}},
            "config.json: rope_type 'llama3': only GPT-2's and Llama's own architecture is read.",
        ),
        ({"n_head": None}, "config.json: 'n_head' is missing."),
    ],
)
def test_other_architectures_are_refused(changes, line):
    found = {name: value for name, value in (CONFIG | changes).items() if value is not None}
    if found["model_type"] == "llama":
        del found["activation_function"]
    assert refused(published.config_of, found) == line


def test_a_folder_that_is_not_whole_is_refused(tmp_path):
    from safetensors.torch import save_file

    assert refused(published.load, tmp_path) == f"{tmp_path / 'config.json'} is not there."
    (tmp_path / "config.json").write_text(json.dumps(CONFIG), encoding="utf-8")
    line = f"{tmp_path}: no *.safetensors file. Save it with transformers' save_pretrained."
    assert refused(published.load, tmp_path) == line
    save_file({"wte.weight": torch.zeros(19, 6)}, tmp_path / "model.safetensors")
    assert refused(published.load, tmp_path).startswith(f"{tmp_path}: the weights do not fit config.json (")
    (tmp_path / "model.safetensors").write_bytes(b"no")
    assert "is not a whole safetensors file" in refused(published.load, tmp_path)


# ---------------------------------------------------------------- filters


def theirs_of(sampling, logits, ids):
    """What transformers leaves of logits, by the processors that its generate would take, in its order."""
    settings = hf.GenerationConfig(
        do_sample=True, temperature=sampling.temperature, top_k=sampling.top_k, top_p=sampling.top_p,
        min_p=sampling.min_p or None, repetition_penalty=sampling.repetition_penalty,
    )  # fmt: skip
    processors = gpt2()._get_logits_processor(settings, input_ids_seq_length=ids.shape[1])
    return processors(ids, logits)


@pytest.mark.exercise(3)
@pytest.mark.parametrize("sampling", SAMPLES, ids=str)
def test_the_filtered_distribution_equals_transformers(sampling):
    rng = torch.Generator().manual_seed(8)
    logits, ids = 3 * torch.randn(40, 60, generator=rng), torch.randint(0, 60, (40, 7), generator=rng)
    seen = torch.zeros(40, 60, dtype=torch.bool).scatter(1, ids, True)
    ours = sample.filtered(logits, sampling, seen).softmax(-1)
    close(ours, theirs_of(sampling, logits, ids).softmax(-1), f"the distribution with {sampling}", 1e-6)


# ---------------------------------------------------------------- byte-pair encoding

TEXTS = [
    "def f(x):\n    return x  # größer — 你好 👩‍🔬\n\n\tif x:\r\n        pass\n",
    "aaa aaaa aaaaa aaaaaaa ab ab abab ababab",
    "the then them there, it's they're we'll I'd 1234 12345 3.14 ___x__ __init__ self.self.self",
    "   lots   of    spaces     \n\n\n\nand\u00a0odd\u2003ones\u200b\x00\x1f",
    "",
]


@pytest.fixture(scope="module")
def trained():
    """(ours, theirs) of one corpus: some texts, and functions of the standard library."""
    import argparse
    import inspect

    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    texts = [*TEXTS, inspect.getsource(argparse)]
    theirs = Tokenizer(models.BPE())
    theirs.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    options = {"special_tokens": [tokens.END], "initial_alphabet": alphabet, "show_progress": False}
    theirs.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=900, **options))
    return tokens.BPE.train(texts, 900), theirs, texts


@pytest.mark.exercise(4)
def test_merges_and_ids_equal_the_tokenizers_library(trained):
    ours, theirs, _ = trained
    state = json.loads(theirs.to_str())["model"]
    merges = [tuple(map(tokens.as_letters, (ours.tokens[a], ours.tokens[b]))) for a, b in ours.merges]
    expected = [tuple(pair) for pair in state["merges"]]
    for number, (found, right) in enumerate(zip(merges, expected, strict=True), 1):
        assert found == right, f"merge {number} is {found}, should be {right}"
    special = {ours.end: tokens.END}
    found = {special.get(number, tokens.as_letters(token)): number for number, token in ours.tokens.items()}
    assert found == state["vocab"]


@pytest.mark.exercise(4)
def test_encoding_equals_the_tokenizers_library(trained):
    ours, theirs, texts = trained
    for text in [*texts, "unseen words: Donaudampfschifffahrt, 99 Luftballons\tπ ≈ 3,14159\n  \n x"]:
        found, right = ours.encode(text), theirs.encode(text).ids
        differ = next(
            (i for i, (a, b) in enumerate(zip(found, right, strict=False)) if a != b), min(len(found), len(right))
        )
        assert found == right, (
            f"token {differ} of {text[:30]!r}… is {found[differ : differ + 1]}, should be {right[differ : differ + 1]}"
        )
        assert ours.decode(found) == text


def test_the_published_files_give_the_same_tokenizer(trained, tmp_path):
    """GPT-2's vocab.json and merges.txt, as the tokenizers library writes them; and under OpenAI's names."""
    ours, theirs, texts = trained
    theirs.model.save(str(tmp_path))
    found = tokens.load(tmp_path)
    assert found.fingerprint == ours.fingerprint and found.encode(texts[-1]) == ours.encode(texts[-1])
    for old, new in (("vocab.json", "encoder.json"), ("merges.txt", "vocab.bpe")):
        (tmp_path / old).rename(tmp_path / new)
    assert tokens.load(tmp_path).fingerprint == ours.fingerprint


def test_the_program_writes_with_a_published_model(trained, tmp_path, capsys):
    """A GPT-2 of transformers with its own two files; and the tokenizer of another model is refused."""
    theirs = gpt2()
    theirs.save_pretrained(tmp_path)
    trained[1].model.save(str(tmp_path))
    flags = ["def f", "--model", tmp_path, "--tokens", 5, "--count", 2, "--no-function", "--top-k", 3]
    line = f"{tmp_path}: the tokenizer has 900 tokens, the model 19: they do not belong together."
    assert refused(sample.main, config(sample, *flags)) == line
    theirs.resize_token_embeddings(900)
    theirs.save_pretrained(tmp_path)
    capsys.readouterr()
    written = sample.main(config(sample, *flags))
    assert len(written) == 2 and all(0 < len(one.ids) <= 5 for one in written)
    assert capsys.readouterr().out.count("def f") >= 2


def test_nothing_here_prints(capfd, both):
    both[0](ids_of(1, 3))
    assert np.isfinite(both[0](ids_of(1, 3)).detach().numpy()).all() and capfd.readouterr().out == ""
