"""Week 9: instructions and their layouts, chat templates, which tokens count in the loss, packing."""

import gzip
import json

import numpy as np
import pytest
import torch
from programs import TEMPLATE, close, gradients, instructions, refused, tiny_llama

from shared import chat_models
from shared.conversation import end_of_turn, render
from shared.files import write_json
from shared.samples import write_instructions
from shared.splits import Part
from week09_lora import answers, data, notebook, tokens, train
from week09_lora.data import Example
from week09_lora.tokens import IGNORE, encode, response_span, response_targets

ALPACA = [{"instruction": f"Say {n}.", "input": "" if n % 2 else "now", "output": f"{n}!"} for n in range(40)]
DOLLY = [
    {"instruction": f"Ask {n}?", "context": "" if n % 2 else "text", "response": f"yes {n}", "category": "open_qa"}
    for n in range(40)
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny_llama(tmp_path_factory.mktemp("week09") / "llama")


@pytest.fixture(scope="module")
def tokenizer(folder):
    return chat_models.load_tokenizer(str(folder))


@pytest.fixture(scope="module")
def model(folder):
    return chat_models.load_model(str(folder))


@pytest.fixture(scope="module")
def smollm2():
    return chat_models.load_tokenizer("smollm2")


def said(prompt, response, **about):
    return Example((("user", prompt),), response, **about)


def part(count=6):
    return Part(tuple(said(f"Say {'very ' * (n % 3)}{n}", f"it is {n}{'!' * n}") for n in range(count)))


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("layout", ["alpaca", "alpaca.gz", "dolly", "completion", "messages"])
def test_layouts(tmp_path, layout):
    path = tmp_path / {"alpaca": "alpaca_data.json", "alpaca.gz": "own.json.gz"}.get(layout, "own.jsonl")
    rows = {
        "dolly": DOLLY,
        "completion": [{"prompt": f"Ask {n}?", "completion": f"yes {n}"} for n in range(40)],
        "messages": [
            {"messages": [{"role": "user", "content": f"Ask {n}?"}, {"role": "assistant", "content": f"yes {n}"}]}
            for n in range(40)
        ],
    }.get(layout, ALPACA)
    text = json.dumps(rows) if layout.startswith("alpaca") else "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if layout.endswith("gz") else text.encode())
    sets = data.load(str(path))
    assert [len(getattr(sets, name)) for name in data.SPLITS] == [32, 4, 4]
    by_line = {item.line: item for item in sets.everything.items}
    wanted = {"alpaca": "Say 2.\n\nnow", "dolly": "Ask 2?\n\ntext"}.get(layout.removesuffix(".gz"), "Ask 2?")
    assert by_line[3].prompt == wanted and by_line[3].response == ("2!" if "alpaca" in layout else "yes 2")
    again = data.load(str(path))
    assert again == sets and not set(sets.train.examples) & set(sets.test.examples)


def test_splits_of_ones_own_and_prompts_that_are_there_twice(tmp_path):
    path = instructions(tmp_path / "own.jsonl", 40)
    rows = [json.loads(line) | {"split": ("train", "val", "test", "train")[n % 4]} for n, line in
            enumerate(path.read_text("utf-8").splitlines())]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[0]]), encoding="utf-8")
    sets = data.load(str(path))
    assert [len(getattr(sets, name)) for name in data.SPLITS] == [20, 10, 10] and sets.own_test
    assert sets.notes == ("dropped 1 rows whose prompt is there twice",)
    fewer = sets.first(5, 0, 3)
    assert (len(fewer.train), len(fewer.val)) == (5, 3)
    assert fewer.notes[1:] == ("took 5 of 20 to train on (--examples)", "took 3 of 10 of val (--most-val)")


def test_published_data_have_empty_answers_which_are_counted(tmp_path):
    write_json(tmp_path / "alpaca_data.json", [*ALPACA, {"instruction": "a", "input": "", "output": " "}])
    assert data.load(str(tmp_path / "alpaca_data.json")).notes == ("left out 1 rows with an empty answer or prompt",)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"prompt": "a", "response": "b"}\n{"prompt": "a"', ":2: not JSON ("),
        ('{"prompt": "a"}\n', ":1: no column output or response or answer or completion. A row has "),
        ('{"text": "a"}\n', ":1: no column instruction or prompt or question. A row has "),
        ('{"prompt": 7, "response": "b"}\n', ":1: prompt and response must be text."),
        ('{"messages": [{"role": "user"}]}\n', ":1: messages must be a list of {role, content}, both text."),
        ('{"messages": [{"role": "user", "content": "a"}]}\n', ":1: messages must end with a turn of user and one of"),
        ('{"prompt": "a", "response": "b", "split": "dev"}\n', ":1: split 'dev' is none of train, val, test."),
        ("[7]", ":1: not a row with columns."),
        ("", ": nothing in it."),
        ("[{", ": not JSON ("),
        ('{"prompt": "a", "response": "b"}\n\n{"prompt": "c", "response": " "}\n', ":3: an empty response: there is"),
        ('{"prompt": " ", "response": "b"}\n', ":1: an empty prompt: there is nothing to learn. Take it out."),
    ],
)
def test_files_that_are_refused(tmp_path, text, says):
    path = tmp_path / "own.jsonl"
    path.write_text(text, encoding="utf-8")
    assert refused(data.load, str(path)).startswith(f"{path}{says}")


def test_no_such_data_too_few_and_no_hub(tmp_path):
    assert refused(data.load, "nowhere") == "--data nowhere: no such file, nor one of sample, alpaca, dolly."
    path = instructions(tmp_path / "own.jsonl", 2)
    assert refused(data.load, str(path)) == f"--data {path}: 2 rows are too few to be cut in three; thirty would do."


# ---------------------------------------------------------------- the sample


def test_the_sample_is_what_its_script_writes_and_no_test_wording_is_trained_on():
    sets = data.load("sample")
    assert sets.synthetic and [len(getattr(sets, name)) for name in data.SPLITS] == [1200, 120, 288]
    rows = write_instructions.rows()
    with gzip.open(data.SAMPLE, "rt", encoding="utf-8") as file:
        assert [json.loads(line) for line in file] == rows
    asked = {split: {row["instruction"] for row in rows if row["split"] == split} for split in data.SPLITS}
    assert not asked["train"] & (asked["val"] | asked["test"]) and not asked["val"] & asked["test"]
    inputs = [(row["family"], row["input"]) for row in rows]
    assert len(inputs) == len(set(inputs)), "nothing of test was seen with another wording"
    assert {row["family"] for row in rows if row["split"] == "test"} - {
        row["family"] for row in rows if row["split"] == "train"
    } == set(write_instructions.TEST_ALONE)


def test_the_judge_takes_the_right_answers_and_no_others():
    items = data.load("sample").everything.items
    assert all(answers.formed(item, item.response) and answers.exact(item, item.response) for item in items)
    wrong = {
        "bullets": "- a, - b", "numbered": "1. a\n3. b", "count": "3 things", "upper": "ABc", "json": '{"name": "A"}',
        "quotes": "a", "yes_no": "yes, it is", "last": "the cup", "lookup": "in Rome", "one_word": "a bird",
        "semicolons": "a, b", "first": "a cup",
    }  # fmt: skip
    for family, text in wrong.items():
        item = next(item for item in items if item.family == family)
        assert not answers.formed(item, text) and not answers.exact(item, text), family
    yes = said("", "yes", family="yes_no")
    assert answers.formed(yes, "Yes.") and answers.exact(yes, "Yes.") and not answers.exact(yes, "no")
    about = said("", '{"name": "Ben", "age": 7, "city": "Rome"}', family="json")
    assert answers.exact(about, '{"age": 7,\n "name": "Ben", "city": "Rome"}')
    assert not answers.exact(said("", "ABC", family="upper"), "abc")


# ---------------------------------------------------------------- the response mask


@pytest.mark.exercise(4)
def test_where_a_response_lies():
    assert response_span([7, 5, 0, 8, 9, 9, 0, 3], 4, 0) == (4, 7), (
        "of [7, 5, 0, 8 | 9, 9, 0, 3] with end token 0 the response is 9, 9, 0: places 4 to 7, its end token the last, "
        "whatever ended before it or stands behind"
    )


@pytest.mark.exercise(4)
def test_targets_by_hand():
    ids = torch.tensor([[7, 8, 1, 2, 0, 0, 0], [7, 7, 8, 8, 3, 4, 0]])
    found = response_targets(ids, [[(2, 5)], [(4, 7)]])
    if not torch.is_tensor(found) or found.shape != ids.shape or found.dtype != ids.dtype:
        raise AssertionError(f"targets must be a tensor like ids, {tuple(ids.shape)} {ids.dtype}")
    if torch.equal(found, torch.where(found == IGNORE, found, ids)) and (found != IGNORE).any():
        raise AssertionError("each place has itself to guess: it must be the token behind it, ids[t + 1] at place t")
    assert found[0, 3] == 0 and found[1, 5] == 0, "the end token (here 0) is not trained: the model would never stop"
    assert (found[:, -1] == IGNORE).all(), "there is nothing to guess at the last place"
    assert (found[0, 4:] == IGNORE).all(), "padding is trained"
    assert found[0, 1] == 1 and found[1, 3] == 3, "the first token of a response is guessed at the end of its prompt"
    assert (found[0, :1] == IGNORE).all() and (found[1, :3] == IGNORE).all(), "the prompt is trained, too"
    x = IGNORE
    assert found.tolist() == [[x, 1, 2, 0, x, x, x], [x, x, x, 3, 4, 0, x]]


@pytest.mark.exercise(4)
def test_targets_of_rows_that_hold_several_examples():
    ids = torch.arange(12)[None]
    found = response_targets(ids, [[(2, 4), (9, 12)]])[0].tolist()
    wanted = [IGNORE, 2, 3, *[IGNORE] * 5, 9, 10, 11, IGNORE]
    assert found == wanted, f"spans (2, 4) and (9, 12) of one row give {found}, should be {wanted}"


MARKED = TEMPLATE.replace(  # a line break behind a block is dropped, so it is written out
    "{{ message['content'] }}<|end|>\n",
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] }}<|end|>{% endgeneration %}"
    "{% else %}{{ message['content'] }}<|end|>{% endif %}{{ '\\n' }}",
)


@pytest.mark.exercise(4)
def test_token_for_token_what_transformers_marks_as_the_assistants(tokenizer):
    items = part(8)
    encoded = encode(items, tokenizer, 128)
    batch = encoded.batch([[n] for n in range(8)], pad=0)
    for row, item in enumerate(items.items):
        chat = [*item.messages, {"role": "assistant", "content": item.response}]
        theirs = tokenizer.apply_chat_template(
            chat, chat_template=MARKED, return_dict=True, return_assistant_tokens_mask=True
        )
        ids, mask = theirs["input_ids"], theirs["assistant_masks"]
        wanted = [ids[t + 1] if mask[t + 1] else IGNORE for t in range(len(ids) - 1)]
        stop = encoded.spans[row][1]
        found = batch.targets[row].tolist()
        assert found[: stop - 1] == wanted[: stop - 1] and set(found[stop - 1 :]) <= {IGNORE}, f"example {row}"
        assert set(wanted[stop - 1 :]) <= {IGNORE}


def test_smollm2s_own_template_token_for_token(smollm2):
    item = said("Say a.", "a b\n\nc", line=1)
    encoded = encode(Part((item,)), smollm2, 128)
    (start, stop), ids = encoded.spans[0], list(encoded.ids[0])
    assert smollm2.decode(ids[start:stop]) == "a b\n\nc<|im_end|>" and stop == len(ids)
    asked = render(smollm2, item.messages, answer=True)
    assert ids[:start] == smollm2(asked)["input_ids"] and asked.endswith("<|im_start|>assistant\n")
    assert encoded.end == smollm2.eos_token_id == smollm2.pad_token_id, "padding and end token are one"


def test_earlier_turns_are_read_and_not_learned(tokenizer):
    turns = (("system", "be brief"), ("user", "a"), ("assistant", "b"), ("user", "c"))
    encoded = encode(Part((Example(turns, "d"),)), tokenizer, 128)
    start, stop = encoded.spans[0]
    assert tokenizer.decode(encoded.ids[0][start:stop]) == "d<|end|>"


def test_a_template_without_an_end_token_gets_the_tokenizers(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", TEMPLATE.replace("<|end|>", ""))
    assert end_of_turn(tokenizer) == tokenizer.eos_token_id
    encoded = encode(part(1), tokenizer, 128)
    assert encoded.ids[0][-1] == tokenizer.eos_token_id and tokenizer.decode(encoded.ids[0][:-1]).endswith("it is 0\n")


def test_no_chat_template(tokenizer, folder, monkeypatch, tmp_path):
    monkeypatch.setattr(tokenizer, "chat_template", None)
    assert refused(encode, part(1), tokenizer, 64).startswith("this tokenizer has no chat template: ")
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    assert refused(chat_models.load_tokenizer, str(tmp_path)).startswith(
        f"--model {tmp_path}: its tokenizer has no chat template, so nobody knows how it is to be spoken to."
    )


def test_a_template_that_refuses_a_turn(tokenizer, monkeypatch):
    monkeypatch.setattr(tokenizer, "chat_template", "{{ raise_exception('no system here') }}")
    assert (
        refused(encode, part(1), tokenizer, 64)
        == "the chat template refuses turns of user, assistant (no system here)."
    )


# ---------------------------------------------------------------- lengths


def test_what_does_not_fit_is_left_out_and_counted_or_cut_or_refused(tokenizer):
    items = Part((*part(3).items, said("p" * 60, "r", line=4), said("q", "s" * 60, line=5)))
    lengths = encode(items, tokenizer, 999).lengths.tolist()
    assert encode(items, tokenizer, max(lengths)).report.cut == 0
    left = encode(items, tokenizer, 50)
    assert left.rows == (0, 1, 2) and (left.report.long_prompts, left.report.cut) == (1, 1)
    assert left.report.lines(50, "leave_out")[1:] == (
        "left out 1 whose prompt alone fills the window of 50 (--max-len)",
        "left out 1 whose answer does not fit into the window of 50 (--max-len)",
    )
    cut = encode(items, tokenizer, 50, "cut")
    assert cut.rows == (0, 1, 2, 4) and len(cut.ids[3]) == 50 == cut.spans[3][1] and cut.ids[3][-1] != cut.end
    assert cut.report.lines(50, "cut")[2].startswith("cut off the end of 1 whose answer does not fit")
    assert refused(encode, items, tokenizer, 50, "refuse").startswith("example 4: its prompt of ")
    assert refused(encode, items.take([4]), tokenizer, 50, "refuse") == (
        f"example 5: the window of 50 cuts off the end of its answer, so the model would not learn to stop. Raise "
        f"--max-len to {lengths[4]}, or shorten it."
    )
    assert refused(encode, items, tokenizer, 8).startswith(
        "--max-len 8: of 5 examples none fits (4 prompts are as long"
    )


# ---------------------------------------------------------------- packing


def test_packed_rows_hold_everything_once_and_no_more_than_fits(tokenizer):
    encoded = encode(part(20), tokenizer, 128)
    rows = encoded.packed(128)
    assert sorted(n for row in rows for n in row) == list(range(20)) and len(rows) < 12
    assert all(sum(encoded.lengths[row]) <= 128 for row in rows)


def packed_and_alone(tokenizer):
    """Three examples in one row beside one in another, padded; and the same four alone. And where each token lies."""
    encoded = encode(part(4), tokenizer, 128)
    packed, alone = encoded.batch([[2, 0, 1], [3]], pad=5), encoded.batch([[n] for n in range(4)], pad=5)
    places, at = {}, 0
    for n in (2, 0, 1):
        places[n] = (0, at)
        at += len(encoded.ids[n])
    return encoded, packed, alone, places | {3: (1, 0)}


def logits_of(model, batch):
    mask = batch.mask if batch.mask.ndim == 4 else batch.mask.long()
    return model(input_ids=batch.ids, attention_mask=mask, position_ids=batch.positions, use_cache=False).logits


def test_packing_changes_neither_logits_nor_loss_nor_gradients(model, tokenizer):
    encoded, packed, alone, places = packed_and_alone(tokenizer)
    ours, theirs = logits_of(model, packed), logits_of(model, alone)
    for n, (row, at) in places.items():
        many = len(encoded.ids[n])
        close(ours[row, at : at + many], theirs[n, :many], f"the logits of example {n}", 1e-5)
        assert torch.equal(packed.targets[row, at : at + many - 1], alone.targets[n, : many - 1])
        assert packed.positions[row, at : at + many].tolist() == list(range(many))
    model.requires_grad_(True)
    found = []
    for batch in (packed, alone):
        model.zero_grad()
        loss = train.response_loss(model, batch)
        loss.backward()
        found.append((loss, model.model.layers[0].self_attn.k_proj.weight.grad.clone()))
    close(found[0][0], found[1][0], "the loss of packed rows")
    close(found[0][1], found[1][1], "the gradient of packed rows", 1e-4)


def test_nothing_leaks_from_one_example_of_a_row_to_another(model, tokenizer):
    """Gradients say who has seen whom: of the logits of one example there is none for another's embeddings."""
    _, packed, _, places = packed_and_alone(tokenizer)
    embedded = model.get_input_embeddings()(packed.ids).detach().requires_grad_(True)

    def of_last(inputs):
        out = model(inputs_embeds=inputs, attention_mask=packed.mask, position_ids=packed.positions, use_cache=False)
        return out.logits[0, places[1][1] :]  # the third example of the first row, and the padding behind it

    _, (seen,) = gradients(of_last, embedded)
    assert not seen[0, : places[1][1]].any(), "the examples before it leak into it"
    assert seen[0, places[1][1] :].any() and not seen[1].any()
    assert torch.isfinite(logits_of(model, packed)).all(), "padding sees something, or a softmax is no number"


def test_the_loss_is_the_plain_one_over_whole_logits(model, tokenizer):
    encoded = encode(part(5), tokenizer, 128)
    batch = encoded.batch([[n] for n in range(5)], pad=0)
    plain = torch.nn.functional.cross_entropy(
        logits_of(model, batch).flatten(0, 1), batch.targets.flatten(), reduction="sum"
    )
    close(train.response_loss(model, batch), plain, "the loss")
    assert int((batch.targets != IGNORE).sum()) == encoded.response_tokens
    nats = train.evaluate(model, encoded, train.choose("cpu"), size=2)["loss"]
    close(nats, plain / encoded.response_tokens, "the loss of a token")


def test_the_constant_guess_by_hand():
    report = tokens.Report(3, 3, 3, 0, 0)
    made = tokens.Encoded(((9, 1, 1), (9, 2, 1)), ((1, 3), (1, 3)), (0, 1), report, 0)
    cost = -np.log(np.array([0.5, 3.5, 1.5, 0.5]) / 6)
    assert train.guesses(made, made, 4) == pytest.approx((3 * cost[1] + cost[2]) / 4)


# ---------------------------------------------------------------- the notebook


def test_the_notebook_has_the_lessons_own_lines():
    lesson = notebook.README.read_text(encoding="utf-8")
    assert notebook.NOTEBOOK.read_text(encoding="utf-8") == notebook.notebook(lesson), (
        "run `python -m week09_lora.notebook`"
    )
    made = json.loads(notebook.notebook(lesson))
    code = [cell["source"] for cell in made["cells"] if cell["cell_type"] == "code"]
    assert len(code) == 3 and made["nbformat"] == 4
    for cell in code:
        for line in cell.splitlines():
            assert line.lstrip("!%") in lesson


def test_cells_are_commands_of_the_shell_and_long_ones_go_on():
    text = "a\n<!-- colab -->\nFirst.\n\n```bash\ncd x\n# why\n./course a \\\n  --b\n```\n<!-- /colab -->\n"
    assert notebook.cells(text) == [("markdown", "First."), ("code", "cd x\n# why\n./course a \\\n  --b")]
    assert notebook.as_cell("code", "cd x\n# why\n./course a \\\n  --b", 1)["source"] == (
        "%cd x\n# why\n!./course a \\\n  --b"
    )
    assert refused(notebook.cells, "a").startswith("README.md needs the lines <!-- colab --> and <!-- /colab -->")
    assert refused(notebook.cells, "<!-- colab --><!-- /colab -->").startswith("README.md has no block of commands")
