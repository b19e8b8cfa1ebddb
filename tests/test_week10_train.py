"""Week 10: the loop, what it restores and watches, what the reference says, eval, chat, sweep and the pictures."""

import json

import numpy as np
import pytest
import torch
from programs import assert_picture, close, config, preferences, refused, rows, tiny_llama

from shared import chat_models
from shared.conversation import Answer, write
from shared.device import Device
from shared.splits import Part
from week10_dpo import (
    app,
    chat,
    chats,
    data,
    drawing,
    eval,
    exact,
    figures,
    judge,
    losses,
    measures,
    sweep,
    train,
    trained,
)
from week10_dpo.data import Pair

CPU = Device("cpu", "float32", "")
SMALL = ("--preset", "smoke", "--no-lora", "--device", "cpu", "--max-len", 64, "--batch-size", 4, "--examples", 0,
         "--most-val", 0, "--lr", 0.002, "--sft-steps", 2, "--epochs", 2, "--steps-per-epoch", 6)  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small language model, llama, and 60 pairs, pairs.jsonl."""
    folder = tmp_path_factory.mktemp("week10")
    tiny_llama(folder / "llama")
    preferences(folder / "pairs.jsonl", 60)
    return folder


@pytest.fixture(scope="module")
def flags(place):
    return *SMALL, "--data", place / "pairs.jsonl", "--model", place / "llama"


@pytest.fixture(scope="module")
def run(flags, place):
    """A small finished run, on fewer pairs than there are."""
    train.main(config(train, *flags, "--examples", 20, "--most-val", 4, "--out", place / "run"))
    return place / "run"


@pytest.fixture(scope="module")
def net(place):
    return chat_models.load(str(place / "llama"))


@pytest.fixture
def encoded(net, place):
    return chats.encode(data.load(str(place / "pairs.jsonl")).val, net[0], 64)


# ---------------------------------------------------------------- the loop


def test_all_pairs_come_once_before_one_comes_again():
    seen = [row for step in range(10) for row in train.rows_of(step, 3, 10, 7)]
    assert [sorted(seen[start : start + 10]) for start in (0, 10, 20)] == [list(range(10))] * 3
    assert seen[:10] != seen[10:20] and seen[:10] != [row for s in range(4) for row in train.rows_of(s, 3, 10, 8)][:10]


def test_the_rate_goes_up_and_down_in_lines():
    assert [train.learning_rate(step, 10, 0.2) for step in range(3)] == [0.5, 1.0, pytest.approx(8 / 9)]
    assert train.learning_rate(9, 10, 0.2) == pytest.approx(1 / 9)


def learned(place, flags, *more):
    """The rows and the weights of a training without a run."""
    cfg = config(train, *flags, *more)
    tokenizer, model = chat_models.load(str(place / "llama"))
    texts = data.load(cfg.data)
    some, val = (chats.encode(part, tokenizer, 64) for part in (texts.train, texts.val))
    known = tuple(train.Known(one, train.said(model, one, CPU)) for one in (some, val))
    if not cfg.cache:
        from week10_dpo.model import frozen, log_probs

        copy_of = frozen(model)

        def ask(batch):
            with torch.no_grad():
                return log_probs(copy_of, *batch)

        known = train.Known(some, None, ask), known[1]
    policy = train.policy_of(cfg, model)
    found = list(train.fit(cfg, some, val, policy, known, CPU, chat_models.load_model(str(place / "llama"))))
    return found, chat_models.Learned(policy).state_dict()


def test_pieces_add_up_to_the_batch_and_a_kept_reference_is_the_one_that_is_asked(place, flags):
    (first, weights), *others = (
        learned(place, flags, "--epochs", 1, *more) for more in ((), ("--accumulate", 3), ("--no-cache",))
    )
    for found, other in others:
        assert found[0]["val_loss"] == pytest.approx(first[0]["val_loss"], abs=1e-4)
        for name in list(weights)[:3]:
            close(other[name], weights[name], name, 1e-3)


def test_at_the_start_the_loss_is_ln_2_nothing_is_ahead_and_nothing_has_moved(net, encoded):
    _, model = net
    known = train.Known(encoded, train.said(model, encoded, CPU))
    found = train.evaluate(train.Config(), model, encoded, known, CPU, model)
    assert found["loss"] == pytest.approx(np.log(2), abs=1e-6)
    assert found["margin"] == found["chosen_reward"] == found["accuracy"] == 0
    assert found["kl"] == pytest.approx(0, abs=1e-6)


def test_what_is_said_of_pairs_does_not_depend_on_the_batch_they_are_in(net, encoded):
    _, model = net
    alone, together = (train.said(model, encoded, CPU, size) for size in (1, 5))
    close(together, alone, "log-probabilities", 1e-5)
    before = train.Known(encoded, alone).take([2, 0], "cpu")
    close(before.chosen, alone[0, [2, 0]], "chosen")
    assert before.rejected_tokens.tolist() == [len(encoded.rows[row][2]) for row in (2, 0)]


def test_the_divergence_is_that_of_the_distributions(net, encoded):
    _, model = net
    other = train.frozen(model)
    with torch.no_grad():
        for weight in other.parameters():
            weight += 0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    found, total, count = train.kl_per_token(model, encoded, CPU, other), 0.0, 0
    for prompt, chosen, _ in encoded.rows[: train.KL_PAIRS]:
        ids = torch.tensor([[*prompt, *chosen]])
        with torch.no_grad():
            p, q = (m(ids).logits[0, len(prompt) - 1 : -1].softmax(-1) for m in (model, other))
        total += float((p * (p / q).log()).sum())
        count += len(chosen)
    assert found == pytest.approx(total / count, rel=1e-3) and found > 0


@pytest.mark.parametrize("loss", losses.LOSSES)
def test_it_learns_with_each_loss(place, flags, loss):
    beta = {"ipo": 0.5, "dpo_norm": 2.0}.get(loss, 0.1)
    found, _ = learned(place, flags, "--loss", loss, "--beta", beta, "--epochs", 3)
    assert found[-1]["val_accuracy"] == 1 and found[-1]["val_margin"] > 0 and found[-1]["val_kl"] > 0
    assert found[-1]["val_loss"] < found[0]["train_loss"]


def test_sft_makes_chosen_answers_likelier_and_leaves_the_model_as_it_was(place, flags, net):
    cfg = config(train, *flags, "--sft-steps", 12, "--sft-lr", 0.005)
    tokenizer, model = chat_models.load(str(place / "llama"))
    some = chats.encode(data.load(cfg.data).train, tokenizer, 64)
    before = train.said(model, some, CPU)[0].mean()
    first = train.pretrain(cfg, some, model, CPU)
    after = train.said(
        train.with_learned(cfg, chat_models.load_model(str(place / "llama")), first["weights"]), some, CPU
    )
    assert after[0].mean() > before + 5 and first["loss"] > 0
    assert train.pretrain(config(train, *flags, "--sft-steps", 0), some, model, CPU) == {"weights": {}, "loss": 0.0}


def test_what_is_learned_is_put_back_only_where_it_fits(net, place):
    one = chat_models.Learned(chat_models.load_model(str(place / "llama")))
    state = one.state_dict()
    name = next(iter(state))
    with pytest.raises(RuntimeError):
        one.load_state_dict(state | {name: torch.zeros(1)})
    with pytest.raises(RuntimeError):
        one.load_state_dict({name: state[name]})


# ---------------------------------------------------------------- a run


def test_a_run_shows_rewards_margins_and_log_probabilities(run):
    first, last = rows(run)[0], rows(run)[-1]
    assert first.keys() >= {
        "val_chosen_reward", "val_rejected_reward", "val_margin", "val_accuracy", "val_kl", "val_chosen_log_prob",
        "val_rejected_log_prob",
    }  # fmt: skip
    assert last["val_margin"] == pytest.approx(last["val_chosen_reward"] - last["val_rejected_reward"], abs=1e-4)
    assert last["val_accuracy"] > 0.9
    result = json.loads((run / "result.json").read_text(encoding="utf-8"))
    assert result["synthetic"] is False, "of pairs of one's own nobody says that they are made up"


def test_the_policy_is_the_model_after_sft_and_dpo(run, place):
    found = trained.load(run)
    policy, before = found.policy()
    ids = torch.arange(1, 9)[None]
    plain = {stage: found.model(stage)(ids).logits for stage in trained.STAGES}
    close(policy(ids).logits, plain["dpo"], "policy")
    close(before(ids).logits, plain["sft"], "reference")
    assert not torch.allclose(plain["sft"], plain["base"]) and not torch.allclose(plain["sft"], plain["dpo"])


def test_another_model_than_it_was_trained_on_is_refused(run, place, tmp_path):
    tiny_llama(tmp_path / "llama", layers=1)
    (tmp_path / "llama").rename(place / "other")
    (place / "llama").rename(place / "kept")
    (place / "other").rename(place / "llama")
    try:
        line = refused(trained.load(run).model, "sft")
    finally:
        (place / "llama").rename(place / "gone")
        (place / "kept").rename(place / "llama")
    assert line.startswith(f"{run / 'model.safetensors'} was trained on another model than {place / 'llama'} is now.")


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (("--label-smoothing", 0.1), "--label-smoothing 0.1: only --loss cdpo has it, not dpo."),
        (("--trainer", "trl", "--loss", "cdpo"), "--trainer trl has no --loss cdpo (its sigmoid passes label"),
        (("--trainer", "trl"), "--trainer trl: here with adapters alone; leave --no-lora out"),
        (("--model", "no/such/model"), "--model no/such/model: no such folder, nor one of smollm2"),
        (("--max-len", 12), "pair"),
    ],
)
def test_what_does_not_go_together_is_refused_before_a_folder_is_made(flags, tmp_path, more, says):
    line = refused(train.main, config(train, *flags, *more, "--out", tmp_path / "run"))
    assert line.startswith(says) or (says == "pair" and "--max-len 12: raise it, or --long drop." in line)
    assert not (tmp_path / "run").exists()


def test_a_tokenizer_without_a_chat_template(place, tmp_path):
    tiny_llama(tmp_path)
    (tmp_path / "chat_template.jinja").unlink()
    assert refused(chat_models.load_tokenizer, str(tmp_path)).startswith(
        f"--model {tmp_path}: its tokenizer has no chat template, so nobody knows how it is to be spoken to."
    )
    (tmp_path / "config.json").unlink()
    assert refused(chat_models.folder_of, str(tmp_path)).startswith(
        f"--model {tmp_path}: no config.json in that folder."
    )


# ---------------------------------------------------------------- answers


def test_answers_in_a_batch_are_those_of_each_alone(net):
    tokenizer, model = net
    asked = [[{"role": "user", "content": text}] for text in ("Say red", "Say white 17", "x")]
    together = write(model, tokenizer, asked, 12)
    assert together == [write(model, tokenizer, [one], 12)[0] for one in asked]
    assert all(len(one.ids) <= 12 and one.stopped == (one.ids[-1] == tokenizer.eos_token_id) for one in together)
    drawn = [write(model, tokenizer, asked, 12, temperature=1.0, seed=seed) for seed in (0, 0, 1)]
    assert drawn[0] == drawn[1] != drawn[2]


def test_repetition_is_the_share_of_runs_that_were_there_before():
    assert measures.repetition([1, 2, 3, 4, 5]) == 0 and measures.repetition([1, 2, 3]) == 0
    assert measures.repetition([7] * 10) == 1 - 1 / 7
    found = measures.about([Answer("a", (1,) * 10, True), Answer("b", (1, 2, 3, 4), False)])
    assert found == {"tokens": 7.0, "repeats": pytest.approx(3 / 7), "stops": 0.5}


def test_an_interval_is_over_prompts():
    """Ten prompts with ten pairs each that are all right or all wrong are ten observations, not a hundred."""
    values, prompts = np.repeat([1, 0], 50), np.repeat([f"p{n}" for n in range(10)], 10)
    mean, low, high = measures.interval(values, prompts.tolist())
    assert mean == 0.5 and 0.15 <= low <= 0.3 and 0.7 <= high <= 0.85
    _, low, high = measures.interval(values, list(map(str, range(100))))
    assert 0.38 < low < 0.42 and 0.58 < high < 0.62, "pairs that are independent"


def test_wins_are_counted_against_the_base():
    class Own(judge.Judge):
        def score(self, texts):
            return np.array([float(text) for text in texts])

        def labels(self, texts):
            return np.array([2 if float(text) > 0 else 1 for text in texts])

    part = Part(tuple(Pair((("user", f"p{n}"),), "a", "b") for n in range(4)))
    found = {stage: {"answers": [Answer(text, (1,), True) for text in texts.split()]}
             for stage, texts in {"base": "0 0 0 1", "dpo": "1 0 2 0"}.items()}  # fmt: skip
    wins = measures.judged(found, part, Own(None))
    assert wins["dpo"][0] == 2.5 / 4 and found["dpo"]["polite"] == 0.5 and found["base"]["polite"] == 0.25


def test_eval_measures_what_was_asked_for(run, tmp_path, capsys):
    found = eval.main(config(eval, "--run", run, "--prompts", 4, "--questions", 3, "--drawn", 2, "--tokens", 6))
    metrics = found["metrics"]
    assert metrics["test_accuracy"] > 0.9 and found["scored"] == 6
    assert metrics["test_kl_per_token"] > 0 and metrics["test_tokens_dpo"] <= 6 and "test_exact_base" in metrics
    said = capsys.readouterr().out
    assert "have changed since the training" not in said
    assert (
        json.loads((run / "result.json").read_text(encoding="utf-8"))["metrics"]["test_accuracy"]
        == metrics["test_accuracy"]
    )
    assert "in 95 of 100 draws of the prompts" in said and "answers to 4 prompts of test, and to 3 exact" in said
    assert_picture(run / "answers.png")


def test_the_questions_are_asked_as_they_stand():
    assert exact.QUESTIONS[0] == ("What is the capital city of Germany?", ("Berlin",))
    assert exact.QUESTIONS[3][1] == ("Lisbon",) and exact.QUESTIONS[5][1] == ("green",)


def test_chat_compares_stages(run, capsys, monkeypatch):
    found = chat.main(config(chat, "Say red", "--run", run, "--compare", "base", "dpo", "--tokens", 8))
    assert found[0].keys() == {"base", "dpo"} and found[0]["base"] != found[0]["dpo"]
    assert "base: " in capsys.readouterr().out
    lines = iter(["Say red", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    assert len(chat.main(config(chat, "--run", run, "--tokens", 4))) == 1


def test_the_page_weighs_as_eval_does_and_its_words_add_up(run, place):
    one = app.Assistant(app.Config(run=str(run), device="cpu"))
    pair = Pair((("user", "Say red 3"),), "red é please", "no red")
    first, second, margin = one.weigh("Say red 3", pair.chosen, pair.rejected)
    encoded = chats.encode(Part((pair,)), one.net.tokenizer, 64)
    gains = one.beta * (train.said(one.policy, encoded, CPU) - train.said(one.net.model("sft"), encoded, CPU))
    assert (first.reward, second.reward) == pytest.approx(tuple(gains[:, 0].tolist()), abs=1e-4) and first.reward
    assert margin == pytest.approx(first.reward - second.reward, abs=1e-4)
    assert sum(gain for _, gain in first.pieces) == pytest.approx(first.reward, abs=1e-4)
    assert [words for words, _ in first.pieces] == [*"red é please", ""], "half a character waits for the other half"
    assert one.weigh("Say red 3", pair.rejected, pair.chosen)[2] == pytest.approx(-margin, abs=1e-4)
    assert "prefers the first answer" in app.verdict(first, second, 0.5)
    assert "prefers neither answer" in app.verdict(first, second, 0.0)


@pytest.mark.parametrize(("question", "first", "second", "line"), [
    (" ", "a", "b", "the question is empty."),
    ("q", "a", " a ", "both answers are the same: there is nothing to prefer."),
    ("q", "a", "b" * 2001, "the second answer has 2,001 characters: 2,000 are the most."),
    ("q", "a", "b" * 600, "question and answer are 608 tokens: the model reads 512."),
])  # fmt: skip
def test_the_page_says_what_cannot_be_weighed(run, question, first, second, line):
    assert refused(app.Assistant(app.Config(run=str(run), device="cpu")).weigh, question, first, second) == line


def test_the_pictures(run, tmp_path):
    figures.main(figures.Config(healthy=str(run), degenerate=str(run), out=str(tmp_path)))
    assert_picture(tmp_path / "rewards.png")
    table = [{"beta": beta, "kl": kl, "polite": 0.5 + kl, "exact": 0.5 - kl} for beta, kl in ((1, 0.1), (0.1, 0.3))]
    drawing.trade_off(tmp_path / "trade_off.png", table)
    assert_picture(tmp_path / "trade_off.png")
    assert refused(figures.main, figures.Config()).startswith("--healthy: the folder of a run")


def test_a_sweep_trains_for_each_beta(monkeypatch, tmp_path, capsys):
    def one(flags, threads):
        return {"beta": flags["beta"], "seconds": 1.0, "val_accuracy": 0.9, "margin": 1.0, "kl": 1 / flags["beta"],
                "polite": 0.5, "exact": 0.4, "tokens": 9.0, "repeats": 0.0}  # fmt: skip

    monkeypatch.setattr(sweep, "one", one)
    found = sweep.main(config(sweep, "--betas", 0.1, 0.5, "--out", tmp_path, "--device", "cpu"))
    assert [row["beta"] for row in found["rows"]] == [0.1, 0.5]
    assert "| 0.5 | 90.00% | 1.000 | 2.000 | 50.0% | 40.0% | 9.0 | 0.0% |" in capsys.readouterr().out
    assert_picture(tmp_path / "trade_off.png")
    assert all(
        json.loads(path.read_text(encoding="utf-8"))["flags"]["preset"] == "quick" for path in tmp_path.glob("*.json")
    )
