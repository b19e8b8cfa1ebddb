"""Week 7's encoder against transformers' BertModel and DistilBertModel, and what must hold of any encoder.

The only file of the week that imports transformers.
"""

import json
import shutil

import pytest
import torch
import transformers
from programs import close, gradients, refused
from safetensors.torch import load_file, save_file

from shared.models import fetch
from week07_bert import weights
from week07_bert.model import Bert, BertConfig, MaskedLMHead, SelfAttention, SpanHead, TokenHead, attention
from week07_bert.tokenizer import SPECIAL, WordPiece
from week07_bert.weights import load_pretrained, save_pretrained

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()
BATCH, TIME, VOCAB = 3, 9, 37
BERT = {
    "vocab_size": VOCAB, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40,
    "max_position_embeddings": 12, "type_vocab_size": 2, "pad_token_id": 0, "initializer_range": 0.3,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
DISTIL = {
    "vocab_size": VOCAB, "dim": 24, "n_layers": 2, "n_heads": 3, "hidden_dim": 40, "max_position_embeddings": 12,
    "initializer_range": 0.3, "dropout": 0.0, "attention_dropout": 0.0,
}  # fmt: skip


def published(kind):
    """A tiny model of transformers by its class's name, its weights random, biases and norms too."""
    torch.manual_seed(3)
    config = transformers.DistilBertConfig(**DISTIL) if "Distil" in kind else transformers.BertConfig(**BERT)
    config.num_labels = 2 if "Question" in kind else 5
    model = getattr(transformers, kind)(config).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.data += 0.2 * torch.randn(parameter.shape)
        if "word_embeddings" in name:
            parameter.data[0] = torch.randn(parameter.shape[1])  # padding's vector may be anything
    return model


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """folders(kind): a folder with such a model as transformers saves it, and the model."""
    made = {}

    def folder(kind):
        if kind not in made:
            model = published(kind)
            place = tmp_path_factory.mktemp(kind)
            model.save_pretrained(place)
            made[kind] = place, model
        return made[kind]

    return folder


def inputs(padded=True, types=True):
    rng = torch.Generator().manual_seed(5)
    ids = torch.randint(1, VOCAB, (BATCH, TIME), generator=rng)
    mask = torch.arange(TIME) < torch.tensor([[TIME], [4], [7]]) if padded else None
    if padded:
        ids[~mask] = 0
    return ids, mask, (torch.arange(TIME) > 2).long().expand(BATCH, TIME) if types else None


def as_theirs(kind, ids, mask, types):
    """What transformers calls the inputs. A DistilBERT takes no token types."""
    given = {"input_ids": ids, "attention_mask": None if mask is None else mask.long()}
    return given | ({} if "Distil" in kind else {"token_type_ids": types})


# ---------------------------------------------------------------- equal to transformers


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "explicit"])
@pytest.mark.parametrize("types", [True, False], ids=["types", "no types"])
@pytest.mark.parametrize("padded", [True, False], ids=["padded", "whole"])
@pytest.mark.parametrize("kind", ["BertModel", "DistilBertModel"])
def test_hidden_states_and_gradients_equal_those_of_transformers(kind, padded, types, fused, folders):
    folder, theirs = folders(kind)
    ours, given = load_pretrained(folder), inputs(padded, types)
    hidden = ours(*given, fused=fused)
    expected = theirs(**as_theirs(kind, *given)).last_hidden_state
    close(hidden, expected, "hidden states")
    upstream = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    theirs.zero_grad()
    hidden.backward(upstream)
    expected.backward(upstream)
    grads = {name: one.grad for name, one in theirs.named_parameters() if one.grad is not None}
    found = {name: one.grad for name, one in ours.named_parameters()}
    right = weights.in_our_names(grads, ours.config.layers)
    assert found.keys() == right.keys()
    for name, gradient in found.items():
        close(gradient, right[name], f"the gradient of {name}")


@pytest.mark.parametrize("family", ["Bert", "DistilBert"])
def test_heads_equal_those_of_transformers(family, folders):
    given = inputs()
    for task, make, key in (
        ("MaskedLM", MaskedLMHead, "logits"),
        ("QuestionAnswering", SpanHead, "start_logits end_logits"),
        ("TokenClassification", lambda config: TokenHead(config, 5), "logits"),
    ):
        folder, theirs = folders(f"{family}For{task}")
        head = make(BertConfig.from_json(folder / "config.json"))
        ours = load_pretrained(folder, head)
        hidden = ours(*given)
        found = head(hidden, ours.embeddings.word.weight) if task == "MaskedLM" else head(hidden)
        expected = theirs(**as_theirs(family, *given))
        for one, name in zip(found if isinstance(found, tuple) else [found], key.split(), strict=True):
            close(one, expected[name], f"{task}: {name}")


@pytest.mark.parametrize("kind", ["BertForPreTraining", "BertForSequenceClassification",
                                  "DistilBertForSequenceClassification", "DistilBertForMultipleChoice"])  # fmt: skip
def test_the_encoder_comes_out_of_whatever_it_was_trained_for(kind, folders):
    folder, theirs = folders(kind)
    given = inputs()
    body = theirs.distilbert if "Distil" in kind else theirs.bert
    expected = body(**as_theirs(kind, *given)).last_hidden_state
    close(load_pretrained(folder)(*given), expected, "hidden states")


def test_minilm_equals_transformers():
    folder = fetch("minilm")
    ours, theirs = load_pretrained(folder), transformers.BertModel.from_pretrained(folder).eval()
    rng = torch.Generator().manual_seed(0)
    ids, mask = torch.randint(1000, 30_000, (2, 40), generator=rng), torch.ones(2, 40, dtype=torch.bool)
    mask[1, 25:] = False
    types = (torch.arange(40) > 9).long().expand(2, 40)
    with torch.no_grad():
        expected = theirs(**as_theirs("Bert", ids, mask, types)).last_hidden_state
        for fused in (True, False):
            close(ours(ids, mask, types, fused), expected, "MiniLM's hidden states")


def test_what_we_save_transformers_reads_and_so_do_we(tmp_path):
    torch.manual_seed(0)
    config = BertConfig(VOCAB, 24, 2, 3, 40, 12, dropout=0.0)
    bert, head = Bert(config).eval(), MaskedLMHead(config).eval()
    tokenizer = WordPiece([*SPECIAL, *(f"token{n}" for n in range(VOCAB - 5))])
    save_pretrained(tmp_path, bert, tokenizer, head)
    theirs = transformers.BertForMaskedLM.from_pretrained(tmp_path).eval()
    given = inputs()
    logits = head(bert(*given), bert.embeddings.word.weight)
    close(theirs(**as_theirs("Bert", *given)).logits, logits, "transformers' logits")
    again = MaskedLMHead(config)
    found = load_pretrained(tmp_path, again)
    close(again(found(*given), found.embeddings.word.weight), logits, "the logits read back", 0)
    assert found.config == config and WordPiece.from_file(tmp_path / "vocab.txt").tokens == tokenizer.tokens
    save_pretrained(tmp_path / "bare", bert, tokenizer)
    bare = transformers.BertModel.from_pretrained(tmp_path / "bare").eval()
    close(bare(**as_theirs("Bert", *given)).last_hidden_state, bert(*given), "transformers' hidden states")


# ---------------------------------------------------------------- files of other times, and bad ones


@pytest.fixture
def copy(folders, tmp_path):
    """copy(change): a BertModel's folder in which change(tensors) has been made; and the model's hidden states."""
    source, model = folders("BertModel")

    def make(change=lambda tensors: tensors, **config):
        shutil.copytree(source, tmp_path, dirs_exist_ok=True)
        save_file(change(load_file(source / "model.safetensors")), tmp_path / "model.safetensors")
        about = json.loads((source / "config.json").read_text(encoding="utf-8"))
        (tmp_path / "config.json").write_text(json.dumps(about | config), encoding="utf-8")
        return tmp_path

    make.model = model
    return make


def test_names_of_2018_half_precision_and_what_is_not_used(copy):
    def old(tensors):
        named = {n.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): t
                 for n, t in tensors.items()}  # fmt: skip
        more = {"embeddings.position_ids": torch.arange(12)[None], "pooler.dense.weight": torch.zeros(24, 24),
                "cls.seq_relationship.bias": torch.zeros(2)}  # fmt: skip
        return {f"bert.{name}".replace("bert.cls", "cls"): one for name, one in (named | more).items()}

    given = inputs()
    close(load_pretrained(copy(old))(*given), copy.model(**as_theirs("Bert", *given)).last_hidden_state, "states")
    half = load_pretrained(copy(lambda tensors: {name: one.half() for name, one in tensors.items()}))
    assert {one.dtype for one in half.parameters()} == {torch.float32}


def test_a_checkpoint_that_does_not_fit_is_refused_by_name(copy):
    key = "encoder.layer.1.attention.output.dense.bias"
    path = copy() / "model.safetensors"

    def said(change=lambda tensors: tensors, **config):
        return refused(load_pretrained, copy(change, **config))

    ends = "it is not what its config.json describes."
    assert said(lambda t: {n: one for n, one in t.items() if n != key}) == (
        f"{path} lacks layers.1.attention.output.bias: {ends}"
    )
    lacks = said(lambda t: {n: one for n, one in t.items() if ".1.attention.self.query" not in n})
    assert lacks.startswith(f"{path} lacks layers.1.attention.qkv.bias and 1 more")
    assert said(num_hidden_layers=3).startswith(f"{path} lacks layers.2.attention.output.bias and 11 more")
    assert said(num_hidden_layers=1) == (
        f"{path}: encoder.layer.1.attention.output.LayerNorm.bias is no tensor of a BERT or DistilBERT of 1 layers."
    )
    assert said(lambda t: t | {"lm_head.weight": torch.zeros(2)}) == (
        f"{path}: lm_head.weight is no tensor of a BERT or DistilBERT of 2 layers."
    )
    assert said(vocab_size=40) == (f"{path}: embeddings.word.weight is (37, 24), but config.json describes (40, 24).")
    assert said(type_vocab_size=0) == f"{path} has too much, embeddings.kind.weight: {ends}"
    assert refused(load_pretrained, copy(), SpanHead(BertConfig())) == (
        f"{path} has no weights for a SpanHead: it was trained for something else."
    )


def test_files_that_are_not_there_or_not_whole(copy):
    folder = copy()
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    assert refused(load_pretrained, folder).startswith(f"{path} is damaged (")
    path.unlink()
    assert refused(load_pretrained, folder) == (
        f"{path} is not there. (A pytorch_model.bin is not read, it could run code: convert it.)"
    )
    (folder / "config.json").unlink()
    assert refused(load_pretrained, folder) == f"{folder / 'config.json'} is not there."


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2', but this week reads bert and distilbert."),
        ({}, "model_type None, but this week reads bert and distilbert."),
        ({"model_type": "bert", "hidden_act": "relu"}, "hidden_act 'relu', but this week's encoder has 'gelu' only."),
        ({"model_type": "bert", "position_embedding_type": "relative_key"},
         "position_embedding_type 'relative_key', but this week's encoder has 'absolute' only."),
        ({"model_type": "bert", "num_attention_heads": 7}, "768 numbers are not to be shared by 7 heads."),
        ({"model_type": "bert", "hidden_size": "768"}, "hidden_size '768' is no number."),
    ],
)  # fmt: skip
def test_configs_that_are_not_ours(config, says):
    assert refused(BertConfig.from_json, config) == f"this config: {says}"


def test_what_a_config_leaves_out_is_as_published():
    base = transformers.BertConfig()
    assert BertConfig.from_json({"model_type": "bert"}) == BertConfig.from_json(base.to_dict())
    distil = BertConfig.from_json({"model_type": "distilbert"})
    assert distil == BertConfig.from_json(transformers.DistilBertConfig().to_dict())
    assert (distil.layers, distil.type_vocab_size, distil.layer_norm_eps) == (6, 0, 1e-12)


def test_tokenizer_and_model_of_different_vocabularies():
    tokenizer = WordPiece([*SPECIAL, "a"])
    weights.check_vocabulary(BertConfig(vocab_size=6), tokenizer)
    weights.check_vocabulary(BertConfig(vocab_size=64), tokenizer)  # the table was rounded up
    for size in (5, 30_522):
        assert refused(weights.check_vocabulary, BertConfig(vocab_size=size), tokenizer) == (
            f"tokenizer and model do not belong together: 6 tokens here, {size:,} there."
        )


# ---------------------------------------------------------------- what must hold


def tiny(**changes):
    torch.manual_seed(2)
    shape = {"vocab_size": VOCAB, "hidden_size": 24, "layers": 2, "heads": 3, "intermediate_size": 40,
             "max_positions": 12, "dropout": 0.0}  # fmt: skip
    return Bert(BertConfig(**(shape | changes)))


@pytest.mark.parametrize("fused", [True, False])
def test_padding_changes_nothing(fused):
    bert, (ids, mask, types) = tiny(), inputs()
    together = bert(ids, mask, types, fused)
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = bert(ids[row : row + 1, :length], None, types[row : row + 1, :length], fused)
        close(together[row : row + 1, :length], alone, "a text beside longer ones")


@pytest.mark.parametrize("padded", [True, False])
def test_attention_written_out_equals_sdpa(padded):
    x, mask = torch.randn(BATCH, TIME, 24, requires_grad=True), inputs(padded)[1]
    layer = SelfAttention(tiny().config)
    (ours, mine), (theirs, other) = (
        gradients(lambda x, fused=fused: layer(x, mask, fused), x) for fused in (False, True)
    )
    close(ours, theirs, "what is found")
    close(mine[0], other[0], "the gradient")


def test_attention_by_hand():
    q = k = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    found, looks = attention(q, k, torch.tensor([[[[10.0, 0.0], [0.0, 20.0]]]]))
    close(looks[0, 0, 0], torch.tensor([0.66976155, 0.33023845]), "weights")  # e^0.7071 and e^0 over their sum
    close(found[0, 0, 0], torch.tensor([6.6976155, 6.604769]), "what is found")


def test_weights_of_all_layers_on_request():
    bert, (ids, mask, types) = tiny(), inputs()
    looks = bert.attentions(ids, mask, types)
    assert [tuple(one.shape) for one in looks] == [(BATCH, 3, TIME, TIME)] * 2
    for one in looks:
        close(one.sum(-1), torch.ones(BATCH, 3, TIME), "the sum of a row")
        assert not one[1, :, :, 4:].any(), "somebody looks at padding"


def test_a_row_that_is_all_padding_stays_finite():
    bert, (ids, mask, _) = tiny(), inputs()
    mask[1] = False
    for fused in (True, False):
        hidden = bert(ids, mask, fused=fused)
        assert hidden.isfinite().all()
        found = torch.autograd.grad(hidden.square().sum(), list(bert.parameters()))
        assert all(one.isfinite().all() for one in found)


def test_every_token_sees_both_sides_and_knows_its_place():
    bert, (ids, _, _) = tiny(), inputs(False)
    hidden = bert(ids)
    for place in (0, TIME - 1):
        changed = ids.clone()
        changed[:, place] = (ids[:, place] + 1) % VOCAB
        assert ((bert(changed) - hidden).abs().amax(-1) > 1e-5).all(), "a token does not see another one"
    order = torch.arange(TIME - 1, -1, -1)
    assert (bert(ids[:, order]) - hidden[:, order]).abs().max() > 1e-3


def test_the_decoder_is_the_table_of_embeddings():
    bert = tiny()
    head, (ids, _, _) = MaskedLMHead(bert.config), inputs(False)
    assert sum(p.numel() for p in head.parameters()) == 24 * 24 + 24 + 2 * 24 + VOCAB
    unused = torch.tensor(sorted(set(range(1, VOCAB)) - set(ids.flatten().tolist())))
    head(bert(ids), bert.embeddings.word.weight).square().sum().backward()
    assert bert.embeddings.word.weight.grad[unused].any(), "tokens that are not in the text are guessed by the table"


def test_dropout_rests_in_evaluation():
    bert, (ids, mask, types) = tiny(dropout=0.3), inputs()
    head = TokenHead(bert.config, 4)
    for fused in (True, False):
        assert not torch.equal(head(bert(ids, mask, types, fused)), head(bert(ids, mask, types, fused)))
    bert.eval(), head.eval()
    assert torch.equal(head(bert(ids, mask, types)), head(bert(ids, mask, types)))


def test_more_tokens_than_positions_are_refused():
    ids = torch.ones(1, 13, dtype=torch.long)
    says = "13 tokens, but this model has been taught 12 positions. Cut the text into windows."
    assert refused(tiny(), ids) == says


def test_a_model_without_token_types_passes_over_them():
    bert, (ids, mask, types) = tiny(type_vocab_size=0), inputs()
    close(bert(ids, mask, types), bert(ids, mask), "hidden states", 0)
    assert (tiny()(ids, mask, types) - tiny()(ids, mask)).abs().max() > 1e-3


def test_weights_begin_as_published():
    table = tiny(vocab_size=2000).embeddings.word.weight
    assert not table[0].any() and abs(table[1:].std() - 0.02) < 1e-3
