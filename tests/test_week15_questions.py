"""Week 15: the questions (parts kept apart, answers exact, calls really made) and the traces that are made of them."""

import random
import re
from dataclasses import replace
from fractions import Fraction

import pytest
import torch
from programs import refused, tiny_llama

from week15_agent import data, lookups, questions, stories, sums, traces
from week15_agent.protocol import FORMATS
from week15_agent.questions import UNKNOWN, Question, agent_tools, make, right
from week15_agent.steps import Step, Steps, fits, read
from week15_agent.wording import NAMES, drawn, in_words, sections

PARTS = ("train", "val", "test")
TOOLS = agent_tools("bm25")
REACT = FORMATS["react"]


# ---------------------------------------------------------------- steps


def test_steps_have_names_and_exact_values():
    made = Steps((Step("-", 48, 15), Step("*", "a", 3), Step("%", 50, "b"), Step("/", "c", 7)))
    assert made.text == "48-15; *3; *50%; /7"
    assert made.values == (33, 99, Fraction(99, 2), Fraction(99, 14)) and not fits(made)
    assert read(("a*b", "r1-c"), {"a": 4, "b": 5, "c": 6}).text == "4*5; -6"
    assert not fits(Steps((Step("/", 1, 0),))) and not fits(Steps((Step("-", 1, 2),)))


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ((Step("*", 19, 2), Step("-", 350, "a")), "350-19*2"),
        ((Step("*", 7, 5), Step("*", 4, 3), Step("+", "a", "b")), "7*5+4*3"),
        ((Step("+", 7, 5), Step("*", 6, "a")), "6*(7+5)"),
        ((Step("/", 16, 2), Step("*", 6, "a")), "6*(16/2)"),
        ((Step("-", 9, 2), Step("-", 20, "a")), "20-(9-2)"),
        ((Step("%", 58, 300), Step("-", 300, "a")), "300-58%"),
        ((Step("%", 5, 320), Step("*", "a", 10)), "5% of 320; *10"),
        ((Step("+", 1, 2), Step("*", "a", 3), Step("-", 90, "b")), "90-(1+2)*3"),
    ],
)
def test_steps_are_written_as_one_would(steps, text):
    made = Steps(steps)
    assert made.text == text
    assert questions.act(questions.computed(made), TOOLS).text == str(made.values[-1])


def test_the_calculator_agrees_with_the_steps_of_every_sum():
    rng = random.Random(3)
    for number in range(60):
        made = (sums.draw, stories.draw)[number % 2](PARTS[number % 3], rng)
        call = questions.computed(made.steps)
        assert questions.act(call, TOOLS).text == str(made.steps.values[-1]), made


# ---------------------------------------------------------------- parts kept apart


@pytest.mark.parametrize("file", ["sums.txt", "lookups.txt"])
def test_no_wording_is_in_two_parts(file):
    seen = {}
    for (name, part), lines in sections(file).items():
        assert len(set(lines)) == len(lines), (name, part)
        for line in lines:
            first = seen.setdefault((name, line), part)
            assert first == part, f"{line!r} of {name} is in {first} and in {part}"
    names = {name for name, _ in sections(file)}
    assert all((name, part) in sections(file) for name in names for part in PARTS)


def test_no_kind_of_story_no_subject_and_no_name_is_in_two_parts():
    kinds = {part: {kind.name for kind in stories.kinds(part)} for part in PARTS}
    subjects = {part: {one.subject for facts in lookups.known(part).values() for one in facts} for part in PARTS}
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        assert not kinds[one] & kinds[other] and not subjects[one] & subjects[other]
        assert not set(NAMES[one]) & set(NAMES[other])
    assert len(kinds["train"]) > 20 and len(kinds["test"]) > 8


def test_stories_are_drawn_whole():
    rng = random.Random(0)
    for part in PARTS:
        for _ in range(150):
            one = stories.draw(part, rng)
            assert not re.search(r"[{}\[\]|]", one.text), one.text
            assert one.text[-1] == "?" and fits(one.steps), one


def test_every_question_is_another_and_follows_from_the_seed():
    some = make("train", 40, 0, tools=TOOLS)
    assert len({one.text for one in some}) == 40 and make("train", 24, 0, tools=TOOLS) == some[:24]
    assert make("train", 24, 1, tools=TOOLS) != some[:24]
    assert {one.family for one in some} == set(questions.FAMILIES)


def test_the_calls_of_every_question_find_its_answer():
    for one in make("test", 48, families=questions.FAMILIES, tools=TOOLS):
        observed = [[questions.act(call, TOOLS) for call in calls] for calls in one.calls]
        assert all(seen.ok for row in observed for seen in row), one
        if one.answer != UNKNOWN:
            last = observed[-1][-1].text
            assert last == one.answer or any(wanted in last for wanted in (one.answer, *one.accept)), one
            assert right(one, one.answer)
        assert not right(one, "nothing"), one


def test_what_does_not_find_its_answer_is_no_question():
    sum_ = questions.of_sum("train", random.Random(0))
    assert questions.proved(sum_, TOOLS)
    assert not questions.proved(replace(sum_, answer="1.5"), TOOLS)
    fact = questions.draw("lookup", "train", random.Random(1))
    assert not questions.proved(replace(fact, answer="42 zebras", accept=()), TOOLS)


@pytest.mark.parametrize(
    ("answer", "accept", "said", "is_"),
    [
        ("1050", (), "It is 1,050.", True),
        ("1050", (), "First 7, then 1050", True),
        ("1050", (), "1050, or 7", False),
        ("105", (), "1050", False),
        ("9,330 kilometres", ("9,330",), "about 9330 kilometres", True),
        ("24 April 2008", (), "on 24 april 2008.", True),
        ("Paris", (), "paris", True),
        (UNKNOWN, (), "Sorry, I don't know that.", True),
        (UNKNOWN, (), "42", False),
        ("42", (), UNKNOWN, False),
    ],
)
def test_which_answers_are_right(answer, accept, said, is_):
    assert right(Question("?", answer, accept=accept), said) is is_


def test_numbers_in_words_and_choices():
    assert [in_words(n) for n in (7, 40, 42, 305, 1200, 9999)] == [
        "seven", "forty", "forty-two", "three hundred and five", "one thousand two hundred",
        "nine thousand nine hundred and ninety-nine",
    ]  # fmt: skip
    assert {drawn("[a|b] c [d|].", random.Random(seed)) for seed in range(30)} == {"a c d.", "b c d.", "a c.", "b c."}


# ---------------------------------------------------------------- traces


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from shared import chat_models

    return chat_models.load_tokenizer(str(tiny_llama(tmp_path_factory.mktemp("llama"))))


def asked(text="What is 6 * 7?", answer="42", calls=("calculator[6 * 7]",)):
    rounds = tuple(REACT.parse(f"Action: {call}", TOOLS).calls for call in calls)
    return Question(text, answer, rounds, thought="a sum" if calls else "")


def test_a_trace_is_the_conversation_that_the_tools_really_answered():
    chat = traces.follow(asked(), REACT, TOOLS)
    assert [one["role"] for one in chat] == ["system", "user", "assistant", "tool", "assistant"]
    assert [one["content"] for one in chat[2:]] == [
        "Thought: a sum\nAction: calculator[6 * 7]", "Observation: 42", "Answer: 42",
    ]  # fmt: skip


def test_spans_are_the_turns_of_the_model_with_their_end_tokens(tokenizer):
    chat = traces.follow(asked(), REACT, TOOLS)
    one = traces.encode(chat, tokenizer)
    said = [tokenizer.decode(one.ids[start:stop]) for start, stop in one.spans]
    assert said == ["Thought: a sum\nAction: calculator[6 * 7]<|end|>", "Answer: 42<|end|>"]
    whole = tokenizer.apply_chat_template(chat, tokenize=False)
    assert whole.startswith(tokenizer.decode(one.ids)) and len(one.ids) == one.spans[-1][1]
    first = traces.encode(chat, tokenizer, turns=1)
    assert first.spans == one.spans[:1] and first.ids == one.ids[: one.spans[0][1]]


@pytest.mark.exercise(5)
def test_labels_of_one_turn_by_hand():
    ids = torch.tensor([[5, 6, 7, 8, 9, 0, 0]])
    found = traces.targets_of(ids, [[(2, 5)]])
    assert found is not None and found.shape == ids.shape, f"targets are {found!r}, should be one for each place"
    assert found.tolist()[0] != [-100, -100, 7, 8, 9, -100, -100], (
        "each place is to guess itself: at place t stands the token of place t + 1"
    )
    assert found.tolist()[0] != [-100, 7, 8, -100, -100, -100, -100], (
        "the last token of a turn, its end token, is not learned: the model would never stop"
    )
    assert found.tolist() == [[-100, 7, 8, 9, -100, -100, -100]], (
        f"the turn 7 8 9 begins at place 2, so places 1 to 3 guess it: {found.tolist()[0]}"
    )


@pytest.mark.exercise(5)
def test_labels_never_have_an_observation_and_always_the_end(tokenizer):
    chats = [traces.follow(one, REACT, TOOLS) for one in (asked(), asked("Hm?", UNKNOWN, ()))]
    rows = [traces.encode(chat, tokenizer) for chat in chats]
    ids, mask, targets = traces.batch(rows, pad=0)  # 0 is the end token, too
    for row, one in enumerate(rows):
        learned = [token for token in targets[row].tolist() if token != traces.IGNORE]
        told = tokenizer.decode(learned)
        assert "Observation" not in told and "What is" not in told, f"what others say is learned, too: {told!r}"
        assert learned.count(0) == len(one.spans), (
            f"{learned.count(0)} end tokens are learned, should be {len(one.spans)}: one for each of its own turns"
        )
        assert told == "".join(tokenizer.decode(one.ids[start:stop]) for start, stop in one.spans)
    assert mask.sum(1).tolist() == [len(one.ids) for one in rows] and ids.shape == targets.shape


# ---------------------------------------------------------------- a file of one's own


def test_a_file_of_ones_own_is_cut_in_three(tmp_path):
    path = tmp_path / "own.jsonl"
    path.write_text(
        "".join(
            f'{{"question": "What is {n} + 1?", "answer": "{n + 1}", "calls": ["calculator[{n} + 1]"]}}\n'
            for n in range(30)
        ),
        encoding="utf-8",
    )
    found = data.load(str(path))
    assert [len(part) for part in (found.train, found.val, found.test)] == [24, 3, 3] and not found.own_test
    assert found.train.items[0].calls[0][0].tool == "calculator"
    assert {one.key for one in found.everything.items} == {f"What is {n} + 1?" for n in range(30)}


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("nonsense", "not a JSON object."),
        ("[1]", "not a JSON object."),
        ('{"question": "a"}', "answer must be a text that is not empty."),
        ('{"question": 3, "answer": "b"}', "question must be a text that is not empty."),
        ('{"question": "a", "answer": "b", "split": "dev"}', "split must be train, val or test."),
        (
            '{"question": "a", "answer": "b", "calls": "x"}',
            'calls must be a list of texts such as "calculator[12 * 7]".',
        ),
        ('{"question": "a", "answer": "b", "calls": ["x"]}', "'x' is no call such as \"calculator[12 * 7]\"."),
    ],
)
def test_a_line_that_is_no_question_is_refused_by_its_number(tmp_path, line, says):
    path = tmp_path / "own.jsonl"
    path.write_text('{"question": "a", "answer": "b"}\n' + line + "\n", encoding="utf-8")
    assert refused(data.load, str(path)) == f"--data {path}, line 2: {says}"


def test_files_that_are_none(tmp_path):
    assert refused(data.load, "no/such").startswith("--data no/such: no such file. Give sample, or a .jsonl")
    path = tmp_path / "own.jsonl"
    path.write_bytes(b"\xff\xfe\xff")
    assert refused(data.load, str(path)).endswith("not a text in UTF-8.")
    path.write_text('{"question": "a", "answer": "b"}\n', encoding="utf-8")
    assert refused(data.load, str(path)).endswith("1 questions are too few: each of train, val and test needs one.")
