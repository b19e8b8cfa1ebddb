"""Week 9's LoRA: one layer by hand, what must hold of it, and how it comes into a model.

Against peft: test_week09_peft.py.

The tests marked `exercise(K)` are what `./course check 9` holds a learner's piece K to.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from programs import close, gradients, refused
from torch import nn

from shared.files import read_json, write_json
from week09_lora import model as week
from week09_lora.model import LoRALinear


@pytest.fixture
def rng():
    return torch.Generator().manual_seed(7)


def random(rng, *shape):
    return torch.randn(*shape, generator=rng)


def layer(rng, rank=3, alpha=6.0, dropout=0.0, rslora=False, dtype=torch.float32):
    """A LoRALinear of 5 inputs and 4 outputs on a frozen base, with a B that has been trained."""
    base = nn.Linear(5, 4).requires_grad_(False)
    with torch.no_grad():
        base.weight.copy_(random(rng, 4, 5))
        base.bias.copy_(random(rng, 4))
    made = LoRALinear(base.to(dtype), rank, alpha, dropout, rslora)
    with torch.no_grad():
        made.lora_A.copy_(random(rng, rank, 5))
        made.lora_B.copy_(random(rng, 4, rank))
    return made


def none_of(found, expected, slips):
    """Fails with the name of the first of these slips that explains what was found, where it is not as expected."""
    if isinstance(found, torch.Tensor) and found.shape == expected.shape:
        if torch.allclose(found, expected, atol=1e-5):
            return
        for slip, wrong in slips.items():
            assert not torch.allclose(found, wrong, atol=1e-4), slip


# ---------------------------------------------------------------- exercise 1: LoRA, forward


@pytest.mark.exercise(1)
def test_scaling_by_hand():
    """Rank 4 and alpha 8: 8 / 4 = 2, and with rsLoRA 8 / sqrt(4) = 4."""
    base = nn.Linear(2, 2)
    found, stable = LoRALinear(base, 4, 8.0).scaling, LoRALinear(base, 4, 8.0, rslora=True).scaling
    assert found != 8.0, "with rank 4 and alpha 8 the scaling is alpha itself, should be alpha / rank: 2"
    close(found, 2.0, "the scaling of rank 4 and alpha 8")
    assert stable != 2.0, "with rsLoRA the scaling is still alpha / rank, should be alpha / sqrt(rank): 4"
    close(stable, 4.0, "rsLoRA's scaling of rank 4 and alpha 8")


@pytest.mark.exercise(1)
def test_forward_by_hand():
    """W0 = (1, 0), A = (1, 2), B = 3, alpha = 2, rank 1, x = (1, 1): h = 1 + 2 · 3 · (1 + 2) = 19."""
    base = nn.Linear(2, 1, bias=False)
    made = LoRALinear(base, 1, 2.0)
    with torch.no_grad():
        base.weight.copy_(torch.tensor([[1.0, 0.0]]))
        made.lora_A.copy_(torch.tensor([[1.0, 2.0]]))
        made.lora_B.fill_(3.0)
    found = made(torch.ones(1, 2))
    slips = {"the scaling is missing: 1 + 3 · 3": 10.0, "the base's answer is missing": 18.0,
             "what the base answers is scaled, too": 20.0}  # fmt: skip
    none_of(found, torch.tensor([[19.0]]), {name: torch.tensor([[x]]) for name, x in slips.items()})
    close(found, torch.tensor([[19.0]]), "in the example by hand, h")


@pytest.mark.exercise(1)
def test_at_first_nothing_is_changed(rng):
    base = nn.Linear(5, 4)
    made, x = LoRALinear(base, 3, 6.0), random(rng, 2, 5)
    close(made(x), base(x), "a new layer's answer", 0)
    made(x).sum().backward()
    assert made.lora_B.grad.any(), "at the start B gets no gradient: A and B must not both be zero"


@pytest.mark.exercise(1)
@pytest.mark.parametrize("rslora", [False, True])
def test_forward_equals_a_layer_with_the_change_added(rslora, rng):
    """Forward and gradients, under a random upstream gradient, of a plain layer whose weight is W0 + scaling B A."""
    made, x = layer(rng, rslora=rslora), random(rng, 2, 3, 5).requires_grad_()
    scaling = 6 / math.sqrt(3) if rslora else 2.0

    def plain(x, a, b):
        return F.linear(x, made.base.weight + scaling * b @ a, made.base.bias)

    expected = gradients(plain, x, made.lora_A, made.lora_B)
    found = gradients(lambda x, *_: made(x), x, made.lora_A, made.lora_B)
    for name, a, b in zip(("h", "the gradient of x", "of A", "of B"), flat(found), flat(expected), strict=True):
        close(a, b, name)
    assert made.base.weight.grad is None, "the base's weight has a gradient: it is frozen"


def flat(found):
    """(output, gradient, gradient, …) of what programs.gradients returns."""
    output, grads = found
    return [output, *grads]


@pytest.mark.exercise(1)
def test_dropout_is_for_what_goes_into_a(rng):
    """With dropout 1/2 each number of x is 0 or doubled on its way into A; what goes into the base is whole."""
    made = layer(rng, rank=1, alpha=1.0, dropout=0.5)
    with torch.no_grad():
        made.lora_A.copy_(torch.tensor([[1.0, 10.0, 100.0, 1000.0, 10_000.0]]))
        made.lora_B.fill_(1.0)
    x = torch.ones(64, 5)
    torch.manual_seed(0)
    change = made.train()(x) - made.base(x)  # (64, 4): 0 or 2 times each digit
    assert change.std(dim=0).max() > 0, "in training with dropout 1/2 every row changes alike: dropout is missing"
    assert torch.allclose(change, change[:, :1].expand(-1, 4), atol=0.1), (
        "with dropout the outputs differ where B is the same: dropout is for x on its way into A, not for the result"
    )
    digits = torch.stack([(change[:, 0].round() // 10**k) % 10 for k in range(5)])
    assert set(digits.unique().tolist()) <= {0.0, 2.0}, "numbers that are kept must be doubled: use self.dropout"
    close(made.eval()(x), layer_answer(made, x), "in evaluation mode, h")


def layer_answer(made, x):
    return made.base(x) + made.scaling * x @ made.lora_A.T @ made.lora_B.T


@pytest.mark.exercise(1)
def test_a_base_of_16_bits_keeps_its_dtype(rng):
    made, x = layer(rng, dtype=torch.bfloat16), random(rng, 2, 5).bfloat16()
    found = made(x)
    assert found.dtype == torch.bfloat16, f"h is {found.dtype}, should be as what the base answers: torch.bfloat16"
    assert made.lora_A.dtype == torch.float32
    right = layer_answer(made.to(torch.float32), x.float())
    close(found.float(), right, "with a base of 16 bits, h", 0.02)


# ---------------------------------------------------------------- exercise 2: merge


@pytest.mark.exercise(2)
def test_the_change_as_a_matrix(rng):
    made = layer(rng)
    found, product = made.delta(), (made.lora_B @ made.lora_A).detach()
    none_of(found, 2 * product, {"the scaling is missing from the merged change": product})
    close(found, 2 * product, "scaling · B A, the change,")


@pytest.mark.exercise(2)
def test_merged_answers_as_before(rng):
    made, x = layer(rng), random(rng, 3, 5)
    before, weight = made(x), made.base.weight.clone()
    made.merge()
    assert made.merged, "merge must set self.merged, or the change is added once more in forward"
    close(made(x), before, "after merge, the answer", 1e-5)
    close(made.base.weight, weight + made.delta(), "the merged weight")


@pytest.mark.exercise(2)
def test_merging_twice_adds_once_and_unmerging_takes_it_out(rng):
    made = layer(rng)
    weight = made.base.weight.clone()
    made.unmerge()
    close(made.base.weight, weight, "after unmerge, where nothing was merged, the weight")
    made.merge()
    made.merge()
    twice = (made.base.weight - weight - 2 * made.delta()).abs().max()
    assert twice > 1e-3, "after merge() twice the change is in the weight twice, should be once"
    close(made.base.weight, weight + made.delta(), "after merge(), and merge() again, the weight")
    made.unmerge()
    close(made.base.weight, weight, "after merge and unmerge, the weight", 1e-6)
    assert not made.merged


@pytest.mark.exercise(2)
def test_merging_into_16_bits_rounds_once(rng):
    made = layer(rng, dtype=torch.bfloat16)
    right = (made.base.weight.float() + made.delta()).bfloat16()
    made.merge()
    assert made.base.weight.dtype == torch.bfloat16
    what = "16 bits, to be added in float32 and rounded once: the merged weight"
    close(made.base.weight.float(), right.float(), what, 0)


class Conv1D(nn.Module):
    """As transformers' layer of that name: the weight lies the other way round."""

    def __init__(self, outputs, inputs):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(inputs, outputs))

    def forward(self, x):
        return x @ self.weight


@pytest.mark.exercise(2)
@pytest.mark.parametrize("outputs", [4, 5])  # a square one would hide it
def test_gpt2_layers_merge_the_other_way_round(outputs, rng):
    made, x = LoRALinear(Conv1D(outputs, 5), 2, 4.0), random(rng, 3, 5)
    with torch.no_grad():
        made.lora_B.copy_(random(rng, outputs, 2))
    before = made(x)
    made.merge()
    close(made(x), before, "GPT-2's kind of layer, whose weight is (in, out): after merge, the answer", 1e-5)


# ---------------------------------------------------------------- into a model


class Toy(nn.Module):
    """Two blocks and a head, with transformers' names."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 8)
        self.layers = nn.ModuleList(
            nn.ModuleDict({"q_proj": nn.Linear(8, 8), "up_proj": nn.Linear(8, 6), "down_proj": nn.Linear(6, 8)})
            for _ in range(2)
        )
        self.lm_head = nn.Linear(8, 7, bias=False)

    def get_output_embeddings(self):
        return self.lm_head

    def get_input_embeddings(self):
        return self.embed

    def forward(self, ids):
        x = self.embed(ids)
        for block in self.layers:
            x = x + block["down_proj"](F.silu(block["up_proj"](block["q_proj"](x))))
        return self.lm_head(x)


def toy(trained=True, **more):
    torch.manual_seed(0)
    model = Toy().eval()
    if more.get("rank"):
        week.inject(model, **{"targets": "all-linear"} | more)
        if trained:
            with torch.no_grad():
                for one in week.adapters(model).values():
                    one.lora_B.normal_()
    return model


IDS = torch.tensor([[1, 2, 3], [4, 5, 6]])


def test_injecting_changes_nothing_and_freezes_the_rest():
    plain, model = toy(), toy(trained=False, rank=2)
    close(model(IDS), plain(IDS), "logits after inject", 0)
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    assert len(trainable) == 12 and all(".lora_" in name for name in trainable)
    assert week.count_parameters(model) == (2 * 2 * (8 + 8 + 8 + 6 + 6 + 8), sum(p.numel() for p in model.parameters()))


@pytest.mark.parametrize(
    ("targets", "count"),
    [
        ("all-linear", 6),
        ("q_proj", 2),
        (("q_proj", "down_proj"), 4),
        ("layers.1.q_proj", 1),
        ("*.1.*", 3),
        ("lm_head", 1),
    ],
)
def test_targets(targets, count):
    assert len(week.inject(toy(), targets, rank=2)) == count


def test_targets_that_match_nothing_name_what_there_is():
    line = "no linear layer has that name; there are down_proj, lm_head, q_proj, up_proj (or all-linear)."
    assert refused(week.inject, toy(), "query") == f"--targets query: {line}"
    assert refused(week.inject, toy(), ("q_proj", "roj")) == f"--targets roj: {line}"
    model = toy(rank=2)
    assert refused(week.inject, model).startswith("the model has adapters already")
    tied = toy()
    tied.lm_head.weight = nn.Parameter(torch.zeros(7, 8))
    tied.embed.weight = tied.lm_head.weight
    assert "leave it out" in refused(week.inject, tied, "lm_head")


def test_without_adapters_is_the_base_and_merge_leaves_a_plain_model():
    plain, model = toy(), toy(rank=2)
    tuned = model(IDS)
    assert not torch.allclose(tuned, plain(IDS))
    with week.without_adapters(model):
        close(model(IDS), plain(IDS), "logits without adapters", 0)
    close(model(IDS), tuned, "logits with them again", 0)
    week.merge(model)
    close(model(IDS), tuned, "logits after merge")
    assert not week.adapters(model) and model.state_dict().keys() == plain.state_dict().keys()


def test_a_quantised_base_is_not_merged_into():
    made = LoRALinear(nn.Linear(4, 4), 2, 4.0)
    made.base.weight = nn.Parameter(torch.zeros(8, 1, dtype=torch.uint8), requires_grad=False)
    made.base.weight.quant_state = object()
    assert refused(made.merge).startswith("the base is in 4 bits: an adapter cannot be merged into it.")


# ---------------------------------------------------------------- files


def test_adapters_come_back(tmp_path):
    model = toy(rank=2, alpha=5.0, dropout=0.1, rslora=True)
    week.save_adapter(model, tmp_path / "adapter", "toy")
    again = toy()
    assert len(week.load_adapter(again, tmp_path / "adapter")) == 6
    close(again(IDS), model(IDS), "logits after loading", 0)
    about = read_json(tmp_path / "adapter" / week.CONFIG)
    assert about["r"] == 2 and about["lora_alpha"] == 5.0 and about["use_rslora"] and about["lora_dropout"] == 0.1


def test_adapters_of_another_base_are_refused(tmp_path):
    week.save_adapter(toy(rank=2), tmp_path, "toy")
    begin = f"{tmp_path}: an adapter of another base (toy): "
    other = toy()
    other.layers[0]["q_proj"] = nn.Linear(9, 8)
    right = "lora_A of layers.0.q_proj is (2, 8), here it must be (2, 9)."
    assert refused(week.load_adapter, other, tmp_path) == begin + right
    other = toy()
    other.layers[1]["up_proj"] = nn.Linear(8, 5)
    right = "lora_B of layers.1.up_proj is (6, 2), here it must be (5, 2)."
    assert refused(week.load_adapter, other, tmp_path) == begin + right
    other = toy()
    del other.layers[1]
    assert refused(week.load_adapter, other, tmp_path).startswith(begin + "it changes layers.1.")
    assert refused(week.load_adapter, toy(rank=2), tmp_path).startswith("the model has adapters already")


def test_folders_that_are_no_adapter_are_refused(tmp_path):
    assert refused(week.load_adapter, toy(), tmp_path).startswith(f"{tmp_path}: no adapter, adapter_config.json is not")
    week.save_adapter(toy(rank=2), tmp_path, "toy")
    about = read_json(tmp_path / week.CONFIG)
    for change, words in (({"peft_type": "IA3"}, "of the kind IA3"), ({"use_dora": True}, "with use_dora"),
                          ({"bias": "all"}, "with bias")):  # fmt: skip
        write_json(tmp_path / week.CONFIG, about | change)
        assert refused(week.load_adapter, toy(), tmp_path).startswith(
            f"{tmp_path}: an adapter {words}: only plain LoRA"
        )
    write_json(tmp_path / week.CONFIG, about)
    whole = (tmp_path / week.WEIGHTS).read_bytes()
    (tmp_path / week.WEIGHTS).write_bytes(whole[:100])
    assert "is not a whole safetensors file" in refused(week.load_adapter, toy(), tmp_path)
    (tmp_path / week.WEIGHTS).unlink()
    assert refused(week.load_adapter, toy(), tmp_path) == f"{tmp_path / week.WEIGHTS} is not there."
