"""Week 15: constrained decoding, agents in a batch, the training and its evaluation, on a Llama of two small layers."""

from pathlib import Path

import numpy as np
import pytest
import torch
from programs import close, config, refused, rows, sums, tiny_llama

from shared import chat_models
from shared.conversation import end_of_turn
from shared.device import Device
from shared.files import read_json
from week15_agent import constrain, traces, train, trained
from week15_agent import eval as evaluation
from week15_agent.constrain import NEVER, START, Constraint, Grammar, State
from week15_agent.decode import Episode, ask
from week15_agent.protocol import FORMATS, Turn, begin
from week15_agent.questions import Question, agent_tools
from week15_agent.tools import Call
from week15_agent.writer import Writer

REACT = FORMATS["react"]
TOOLS = agent_tools("bm25")
NAMES = tuple(TOOLS)
CPU = Device("cpu", "float32", "a test")


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small model, and questions of one's own."""
    folder = tmp_path_factory.mktemp("week15")
    tiny_llama(folder / "llama")
    sums(folder / "own.jsonl", 90)
    return folder


@pytest.fixture(scope="module")
def model(place):
    return chat_models.load(str(place / "llama"))


@pytest.fixture(scope="module")
def constraint(model):
    tokenizer, network = model
    return Constraint(tokenizer, end_of_turn(tokenizer), NAMES, network.config.vocab_size)


def flags(place, *more):
    return ("--preset", "smoke", "--data", place / "own.jsonl", "--model", place / "llama", "--search", "bm25",
            "--examples", 0, "--layers", 0, "--rank", 8, "--batch-size", 8, *more)  # fmt: skip


# ---------------------------------------------------------------- the grammar

TURNS = [
    Turn("a sum", (Call("calculator", {"expression": "48-15; *3"}),)),
    Turn("", (Call("search", {"query": "population of Chad"}), Call("search", {"query": "area of Chad"}))),
    Turn("brackets [in] here", (Call("search", {"query": "what [1] says"}),)),
    Turn("", (Call("search", {"query": "exports", "since": "2024"}),)),
    Turn("nobody told me", answer="I cannot tell."),
    Turn("", answer="one line, é"),
]


@pytest.mark.parametrize("turn", TURNS, ids=range(len(TURNS)))
def test_what_the_protocol_writes_is_of_the_grammar(turn):
    grammar, state = Grammar(NAMES), START
    for char in REACT.write(turn, TOOLS):
        state = grammar.after(state, char)
        assert state is not None, f"{char!r} was not allowed"
        assert 0 <= grammar.distance(state) < 30
    assert grammar.ends(state)


@pytest.mark.parametrize(
    "text", ["Hello", "Action: shell[ls]", "Action: search[a]x\n?", "Answer:  ", "Thought: a\nThought: b", "Answer: \n",
             "Observation: 4", "Action: search[a\nb]", "Action: search[a]\nAnswer: b", "Answer: 4\n5"],
)  # fmt: skip
def test_what_does_not_parse_is_not_of_the_grammar(text):
    state = Grammar(NAMES).follow(START, text)
    assert state is None or not Grammar(NAMES).ends(state)


def test_distance_is_how_far_the_end_is():
    grammar = Grammar(NAMES)
    assert grammar.distance(START) == len("Answer: x") == grammar.distance(State("thought"))
    assert grammar.distance(grammar.follow(START, "Action: search[")) == 1
    assert grammar.distance(grammar.follow(START, "Action: s")) == len("earch[]")
    assert grammar.distance(grammar.follow(START, "Answer: 4")) == 0


# ---------------------------------------------------------------- the mask of a state


def toy(texts, end=0):
    """A constraint over a handful of tokens, without a tokenizer."""
    one = Constraint.__new__(Constraint)
    one.grammar, one.end, one.texts, one.size, one.known = Grammar(NAMES), end, texts, len(texts) + 1, {}
    return one


@pytest.mark.exercise(3)
def test_the_mask_at_the_beginning_by_hand():
    texts = ["", "Ans", "Answer: ", "Action: search[", "Hello", "Answer: 4", "Action: shell["]
    costs = toy(texts).costs(START)
    assert costs is not None, "costs are None: is `return` missing?"
    assert costs.shape == (8,), f"costs have the shape {np.shape(costs)}, should be (8,): one for each logit"
    ok = (np.asarray(costs) < NEVER).tolist()
    assert not ok[0], "the end token is allowed where a turn has not been written yet"
    assert not ok[7], "a logit that is no token of the tokenizer is allowed"
    assert not ok[6], "a tool is allowed that is not there"
    assert ok == [False, True, True, True, False, True, False, False]
    # "wer: x" and the end, "x" and the end, "]" and the end, the end alone
    assert costs[[1, 2, 3, 5]].tolist() == [7, 2, 2, 1], (
        f"costs are {costs[[1, 2, 3, 5]].tolist()}, should be [7, 2, 2, 1]: what must follow, the end token included"
    )


@pytest.mark.exercise(3)
def test_the_mask_within_a_call_by_hand():
    texts = ["", "4*2", "]", "4]", "]\n", "\n", "]]", "a\nb", "]\nAnswer: "]
    one = toy(texts)
    inside, closed = State("in_input"), State("closed")
    assert one.costs(inside)[:9].tolist() == [NEVER, 2, 1, 1, 17, NEVER, 1, NEVER, NEVER], (
        f"within a call costs are {one.costs(inside)[:9].tolist()}"
    )
    assert one.costs(closed)[0] == 0, "behind the last bracket the end token is to be allowed, and costs nothing more"
    assert one.costs(closed)[5] == 17 and one.costs(closed)[1] == 2
    assert one.allowed(inside, left=2).tolist()[:5] == [False, False, True, True, False], (
        "with two tokens left, only what closes the call may come"
    )


@pytest.mark.exercise(3)
def test_every_mask_allows_something_and_nothing_that_cannot_follow(constraint):
    grammar, seen = constraint.grammar, [START]
    for text in ("Th", "Thought: ", "Thought: x", "Thought: x\n", "Action: search[", "Action: search[x]", "Answer: 4"):
        seen.append(grammar.follow(START, text))
    for state in seen:
        costs = constraint.costs(state)
        assert (costs < NEVER).any(), f"nothing is allowed at {state}"
        for token in np.flatnonzero(costs < NEVER):
            if token != constraint.end:
                assert grammar.follow(state, constraint.texts[token]) is not None, (
                    f"{constraint.texts[token]!r} is allowed at {state}"
                )
            else:
                assert grammar.ends(state), f"the end token is allowed at {state}, where no turn is over"


# ---------------------------------------------------------------- decoding


class Noise:
    """In place of a network: logits that are drawn, or those of given tokens."""

    def __init__(self, vocab, seed=0, say=()):
        self.rng, self.vocab, self.say, self.at = torch.Generator().manual_seed(seed), vocab, say, 0

    def logits(self, count):
        found = torch.randn(count, self.vocab, generator=self.rng) * 5
        if self.say:
            found[:, self.say[min(self.at, len(self.say) - 1)]] = 1000
            self.at += 1
        return found

    def writer(self, end):
        made = Writer.__new__(Writer)
        made.end, made.read = end, lambda news: self.logits(len(news))
        return made


@pytest.mark.exercise(3)
@pytest.mark.parametrize("most", [10, 11, 40])
def test_whatever_the_logits_are_a_constrained_turn_parses(model, constraint, most):
    tokenizer, network = model
    assert constraint.least == 10, f"the shortest turn takes {constraint.least} tokens, should be 10"
    parsed = 0
    for seed in range(6):
        noise = Noise(network.config.vocab_size, seed)
        written = noise.writer(constraint.end).turn(noise.logits(8), most, constraint)
        for ids in written:
            text = tokenizer.decode(ids, skip_special_tokens=True)
            assert ids[-1] == constraint.end and len(ids) <= most, f"{text!r} has no end within {most} tokens"
            turn = REACT.parse(text.strip(), TOOLS)
            assert turn.answer or all(call.tool in NAMES for call in turn.calls)
            parsed += 1
    assert parsed == 48
    free = Noise(network.config.vocab_size)
    with pytest.raises(ValueError):
        REACT.parse(tokenizer.decode(free.writer(constraint.end).turn(free.logits(1), most)[0]), TOOLS)


@pytest.mark.exercise(3)
@pytest.mark.parametrize("turn", TURNS[:5], ids=range(5))
def test_where_the_model_alone_writes_a_turn_the_constraint_changes_nothing(model, constraint, turn):
    tokenizer, network = model
    ids = [*tokenizer(REACT.write(turn, TOOLS), add_special_tokens=False)["input_ids"], constraint.end]
    for held in (None, constraint):
        noise = Noise(network.config.vocab_size, say=ids)
        assert noise.writer(constraint.end).turn(noise.logits(1), 150, held) == [ids]


def test_tokens_that_are_parts_of_a_character_are_kept_out_of_calls(constraint):
    assert constraint.texts[constraint.end] == "" and "a" in constraint.texts
    assert not any("\ufffd" in text for text in constraint.texts)


def test_reading_in_pieces_gives_the_logits_of_reading_at_once(model):
    _, network = model
    writer = Writer(network, 0)
    writer.read([[7, 8, 9, 10], [11, 12]])
    writer.read([[13], []])
    found = writer.read([[14, 15], [16, 17, 18]])
    for row, ids in enumerate(([7, 8, 9, 10, 13, 14, 15], [11, 12, 16, 17, 18])):
        close(found[row], network(torch.tensor([ids])).logits[0, -1], f"the logits of row {row}", 1e-4)
    writer.keep([1])
    found = writer.read([[19]])
    close(found[0], network(torch.tensor([[11, 12, 16, 17, 18, 19]])).logits[0, -1], "the logits of what is kept", 1e-4)
    other = [11, 12, 16, 20, 21]
    found = writer.read_whole([other])
    close(found[0], network(torch.tensor([other])).logits[0, -1], "the logits of what was corrected", 1e-4)
    assert writer.known == [other]


def test_a_turn_of_an_episode_is_one_of_the_loop():
    """A call that was made before, calls beyond the fourth, and what is no turn are answered as in a talk."""
    one, call = Episode(begin(REACT, TOOLS, "?")), "Action: calculator[1+1]"
    for text in (call, call, "\n".join(f"Action: calculator[{n}]" for n in range(5)), "<|end|>", "Answer: 2"):
        one.take(text, 3, REACT, TOOLS)
    tail = [message["content"] for message in one.chat if message["role"] == "tool"]
    assert tail[0] == "Observation: 2" and tail[1].startswith("Observation: 2 (You have made this call before.")
    assert tail[2].endswith("Observation: Error: not done. At most 4 calls at once.")
    assert one.chat[8]["content"] == "< |end| >" and tail[3].startswith("Observation: Error: write Thought")
    assert (one.answer, one.calls, one.invalid, one.unparsable, one.turns, one.tokens) == ("2", 7, 1, 1, 5, 15)


def test_many_agents_at_once_do_what_each_does_alone(model, constraint):
    tokenizer, network = model
    chats = [begin(REACT, TOOLS, text) for text in ("1+1?", "Who is the head of the government of Chad?", "12*12-3?")]
    options = {"constraint": constraint, "turns": 3, "most": 24}
    together = ask(network, tokenizer, chats, REACT, TOOLS, **options)
    for chat, one in zip(chats, together, strict=True):
        (alone,) = ask(network, tokenizer, [chat], REACT, TOOLS, **options)
        assert one.chat == alone.chat and one.unparsable == 0 and one.tokens == alone.tokens
        assert [message["role"] for message in one.chat[:3]] == ["system", "user", "assistant"]
    (free,) = ask(network, tokenizer, chats[:1], REACT, TOOLS, turns=2, most=12)
    assert free.unparsable == free.turns == 2 and free.chat[3]["content"].startswith(
        "Observation: Error: write Thought:"
    )


# ---------------------------------------------------------------- training


def test_every_pass_reads_every_trace_once_and_of_one_length_together():
    lengths = np.random.default_rng(0).integers(5, 200, 100).tolist()
    batches = train.order(lengths, 8, seed=3, turn=0)
    assert sorted(row for batch in batches for row in batch) == list(range(100))
    assert batches == train.order(lengths, 8, 3, 0)
    padded = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
    assert padded < 1.25 * sum(lengths)
    assert [train.rows_of(step, lengths, 8, 3) for step in range(13)] == batches
    assert train.rows_of(13, lengths, 8, 3) == train.order(lengths, 8, 3, 1)[0]


def test_the_rate_grows_in_a_line_and_falls_in_half_a_cosine():
    rates = [train.learning_rate(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == 1.0 == max(rates) and 0 <= rates[-1] < 0.01


def test_the_loss_is_that_of_all_logits(place):
    tokenizer, network = train.build(config(train, *flags(place)), CPU)
    both = Question("?", "4", ((Call("calculator", {"expression": "2+2"}),),)), Question("Who are you?", "I")
    some = [traces.encode(traces.follow(one, REACT, TOOLS), tokenizer) for one in both]
    ids, mask, targets = traces.batch(some, 0)
    logits = network(input_ids=ids, attention_mask=mask.long()).logits
    whole = torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=traces.IGNORE)
    close(train.trace_loss(network, ids, mask, targets), whole, "the loss")
    close(train.mean_loss(network, some, 0, CPU), whole, "the mean loss")


def test_adapters_in_the_upper_layers_alone(place):
    cfg = config(train, *flags(place), "--layers", 1)
    _, network = train.build(cfg, CPU)
    names = list(chat_models.Learned(network).parameters)
    assert names and all(".layers.1." in name for name in names) and len(names) == 2 * 7
    assert refused(train.build, config(train, *flags(place), "--layers", 3), CPU).startswith("--layers 3: ")


@pytest.fixture(scope="module")
def run(place, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "run"
    more = ("--epochs", 2, "--steps-per-epoch", 30, "--lr", 0.01, "--most-val", 0, "--out", out)
    return train.main(config(train, *flags(place), *more))


def test_a_small_training_learns_to_call_and_beats_one_answer_to_all(run):
    _, last = rows(run["run"])
    assert last["val_loss"] < 0.35 and last["val_unparsable"] == 0
    assert run["metrics"]["val_success"] > run["baselines"][0]["val_success"] > 0


def test_eval_asks_everybody(run, capsys):
    given = ("direct", "thinking", "untrained_free", "trained_free")
    found = evaluation.main(config(evaluation, "--run", run["run"], "--tokens", 8, "--who", *given))
    said = capsys.readouterr().out
    assert found["scored"] == 9 and found["metrics"]["test_success"] > 0
    assert "| this network |" in said and "turns that do not parse" in said
    assert found["asked"].keys() == {evaluation.NAMES[name] for name in (*given, "trained")}
    assert found["asked"]["this network"]["all"] == found["metrics"]["test_success"]
    assert read_json(Path(run["run"]) / "families.json") == found["asked"]


def test_the_run_is_loaded_as_it_was_and_its_adapters_can_rest(run, place):
    net = trained.load(run["run"])
    ids = torch.arange(10, 40)[None]
    with net.as_it_was() as before:
        untrained = before(ids).logits
    close(
        untrained, chat_models.load_model(str(place / "llama"))(ids).logits, "the logits of the model as it was", 1e-4
    )
    assert not torch.allclose(net.model(ids).logits, untrained, atol=0.1)
    assert net.constraint is net.constraint and isinstance(net.constraint, constrain.Constraint)


def test_shares_are_of_each_family():
    some = [Question("a", "1", family="story"), Question("b", "2", family="story"), Question("c", "3")]
    done = [Episode([], answer) for answer in ("1", "5", "3")]
    assert evaluation.shares(some, done) == {"story": 0.5, "own": 1.0, "all": pytest.approx(2 / 3)}
