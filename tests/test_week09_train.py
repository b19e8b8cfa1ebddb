"""Week 9: the training, its pieces, and the programs that use what it has made, on a Llama of two small layers."""

import io
import json
import shutil
import threading
from pathlib import Path

import pytest
import torch
from programs import assert_picture, close, config, instructions, refused, refused_flags, rows, tiny_llama

from shared import chat_models
from shared.conversation import Answer, ids_of, write
from shared.device import choose
from shared.errors import CourseError
from week09_lora import app, chat, forget, model, oom, train, trained
from week09_lora import eval as evaluation

SMALL = ("--preset", "smoke", "--rank", 8, "--most-val", 0, "--steps-per-epoch", 15, "--batch-size", 8, "--lr", 0.02)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a model and instructions."""
    folder = tmp_path_factory.mktemp("week09")
    tiny_llama(folder / "llama")
    instructions(folder / "own.jsonl", 120)
    return folder


def flags(place, *more):
    return (*SMALL, "--data", place / "own.jsonl", "--model", place / "llama", *more)


@pytest.fixture(scope="module")
def run(place):
    return train.main(config(train, *flags(place), "--out", place / "run"))


def ready(place, *more):
    """(cfg, model, train, val, device) of a training."""
    cfg, device = config(train, *flags(place, *more)), choose("cpu")
    tokenizer, network = train.build(cfg, device)
    return cfg, network, *train.prepared(cfg, tokenizer)[1:], device


# ---------------------------------------------------------------- pieces


def test_the_rate_grows_in_a_line_and_falls_in_half_a_cosine():
    rates = [train.learning_rate(step, 100, 0.1) for step in range(100)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == 1.0 == max(rates)
    assert rates[54] == pytest.approx(0.5, abs=0.02) and 0 <= rates[-1] < 0.01
    assert train.learning_rate(0, 1, 0.1) == 1.0


def test_every_row_is_read_once_in_a_pass_in_an_order_of_the_seed(place):
    cfg, _, encoded, _, _ = ready(place)
    order = train.Order(cfg, encoded)
    one_pass = [row for step in range(len(encoded) // 8) for row in order.of_step(step)]
    assert sorted(one_pass) == [[n] for n in range(len(encoded))], "96 rows are 12 steps of 8"
    assert order.of_step(13) == train.Order(cfg, encoded).of_step(13), "a step knows its rows without those before it"
    assert order.of_step(0) != train.Order(config(train, *flags(place, "--seed", 1)), encoded).of_step(0)
    packed = train.Order(config(train, *flags(place, "--pack", "--max-len", 128)), encoded)
    assert len(packed.rows) < len(encoded) / 2 and len(packed.of_step(0)) == 8


@pytest.mark.parametrize("more", [("--accumulate", 3), ("--checkpointing",)], ids=lambda more: more[0])
def test_pieces_and_checkpointing_change_memory_and_not_the_step(place, more):
    found = []
    for given in ((), more):
        cfg, network, encoded, val, device = ready(place, "--max-steps", 4, *given)
        (row,) = train.fit(cfg, encoded, val, network, device)
        found.append((row["train_loss"], row["val_loss"]))
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_peft_trains_to_the_same_loss_as_our_adapters_from_the_same_beginning(place):
    found = []
    for impl in ("scratch", "peft"):
        cfg, network, encoded, val, device = ready(place, "--impl", impl, "--max-steps", 4)
        begun = [p for name, p in sorted(network.named_parameters()) if "lora_A" in name]
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in begun:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 8)
        (row,) = train.fit(cfg, encoded, val, network, device)
        found.append((row["train_loss"], row["val_loss"]))
        assert model.count_parameters(network)[0] == sum(
            p.numel() for p in chat_models.Learned(network).parameters.values()
        )
    assert found[0] == pytest.approx(found[1], rel=1e-4)


def test_all_weights_learn_where_there_is_no_rank(place):
    cfg, network, encoded, val, device = ready(place, "--rank", 0, "--lr", 0.002, "--max-steps", 8)
    before = train.evaluate(network, val, device)["loss"]
    learns, total = model.count_parameters(network)
    assert learns == total
    *_, row = train.fit(cfg, encoded, val, network, device)
    assert row["val_loss"] < before


def test_only_adapters_learn_and_are_kept(place, run):
    saved = trained.load(run["run"])
    names = chat_models.Learned(saved.model).parameters
    assert names and all("lora_" in name for name in names) and run["params"] == sum(p.numel() for p in names.values())
    published = chat_models.load_model(str(place / "llama")).state_dict()
    for name, weight in published.items():
        ours = saved.model.state_dict()
        assert torch.equal(weight, ours.get(name, ours.get(name.replace(".weight", ".base.weight")))), name


def test_half_precision_scales_its_loss(place, monkeypatch):
    """A T4 has no bf16: there the loss is multiplied before the way back and the gradients divided after it."""
    seen = []
    real = torch.amp.GradScaler

    def noted(*arguments, **options):
        seen.append(options["enabled"])
        return real("cpu", enabled=False)

    monkeypatch.setattr(train.torch.amp, "GradScaler", noted)
    cfg, network, encoded, val, _ = ready(place, "--max-steps", 1)
    for dtype in ("float32", "float16", "bfloat16"):
        next(iter(train.fit(cfg, encoded, val, network, train.Device("cpu", dtype, "asked for"))))
    assert seen == [False, True, False]


def test_four_bits_train_and_an_eval_pass_changes_no_gradient(place):
    """bitsandbytes repacks 4-bit weights at a pass without gradients, on CPUs with bf16 units; ours must not."""
    cfg, network, encoded, val, device = ready(place, "--quantize", "nf4")
    batch = encoded.batch(train.Order(cfg, encoded).of_step(0), encoded.end)

    def gradient():
        network.train()
        network.zero_grad()
        train.response_loss(network, batch).backward()
        return [p.grad.clone() for p in chat_models.Learned(network).parameters.values()]

    before = gradient()
    loss = train.evaluate(network, val, device)["loss"]
    for ours, theirs in zip(gradient(), before, strict=True):
        close(ours, theirs, "the gradient after an eval pass")
    *_, row = train.fit(cfg, encoded, val, network, device)
    assert row["val_loss"] < loss - 1, "it learns on 4-bit weights"


def test_trls_trainer_learns_the_same_thing(place):
    result = train.main(config(train, *flags(place, "--impl", "peft", "--trainer", "trl"), "--out", place / "trl"))
    untuned = result["baselines"][0]["val_loss"]
    assert result["metrics"]["val_loss"] < untuned / 3 and [row["step"] for row in rows(place / "trl")] == [15, 30]
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {path.name for path in (place / "trl").iterdir()}


# ---------------------------------------------------------------- runs


def test_a_small_training_beats_the_untuned_model_and_the_constant_guess(run):
    untuned, constant = run["baselines"]
    assert (untuned["name"], constant["name"]) == (train.UNTUNED, train.CONSTANT)
    assert run["metrics"]["val_loss"] < min(untuned["val_loss"], constant["val_loss"]) / 3
    assert run["answers"][0]["before"] != run["answers"][0]["after"] and run["synthetic"] is False


def test_peft_loads_the_run_folder_with_the_same_logits(place, run):
    from peft import PeftModel

    ours = trained.load(run["run"])
    theirs = PeftModel.from_pretrained(chat_models.load_model(str(place / "llama")), run["run"]).eval()
    ids = torch.arange(10, 40)[None]
    close(ours.model(ids).logits, theirs(ids).logits, "the logits of the adapter, loaded by peft")


def test_eval_shows_who_obeys_and_who_stops(run, capsys):
    found = evaluation.main(config(evaluation, "--run", run["run"], "--tokens", 20))
    said = capsys.readouterr().out
    assert found["metrics"]["test_loss"] < found["baselines"][0]["test_loss"] / 3
    assert found["answers"]["tuned"]["stops"] == found["metrics"]["test_stops"] > 0.9, "it has learned to stop"
    assert found["answers"][train.UNTUNED]["stops"] < 0.5 and "| tuned |" in said and "→" in said
    assert_picture(Path(run["run"]) / "obeyed.png")


def told(answer: Answer) -> tuple[str, int, bool]:
    return answer.text, answer.tokens, answer.stopped


def test_answers_in_a_batch_are_those_alone_and_say_whether_they_stopped(run):
    net = trained.load(run["run"])
    chats = [[{"role": "user", "content": text}] for text in ("Say red\n\n7", "Say blue\n\n123456", "?")]
    together = write(net.model, net.tokenizer, chats, 24)
    alone = [write(net.model, net.tokenizer, [one], 24)[0] for one in chats]
    assert together == alone and told(together[0]) == ("it is red now", 13, True)
    (cut,) = write(net.model, net.tokenizer, chats[:1], 5)
    assert told(cut) == ("it is", 5, False)
    (whole,) = write(net.model, net.tokenizer, chats[:1], 13)
    assert whole.stopped, "the end token is not one of the tokens of an answer"


def test_chat_streams_and_compares(run, place, capsys, monkeypatch):
    before, after = chat.main(config(chat, "Say red\n\n7", "--run", run["run"], "--compare", "--tokens", 20))
    said = capsys.readouterr().out
    assert after == "it is red now" != before
    assert said.startswith("[untuned]\n") and said.endswith("[tuned]\nit is red now\n")
    (same,) = chat.main(config(chat, "Say red\n\n7", "--adapter", run["run"], "--model", place / "llama"))
    assert same == after
    monkeypatch.setattr("sys.stdin", io.StringIO("Say blue\n/new\nSay white\n"))
    assert chat.main(config(chat, "--run", run["run"], "--tokens", 16))
    assert refused(chat.main, config(chat, "a", "--base", "--compare")).startswith("--base is the untuned model alone")
    assert refused(chat.main, config(chat, "a" * 600, "--run", run["run"])).startswith("a conversation of ")


def test_a_stream_shows_whole_characters_and_steers_no_terminal(place):
    tokenizer, heard = chat_models.load_tokenizer(str(place / "llama")), []
    streamer = chat.Streamer(tokenizer, heard.append)
    streamer.put(torch.tensor([[1, 2]]))  # the prompt
    for token in ids_of(tokenizer, "é\x1b[2Ja\n"):
        streamer.put(torch.tensor([token]))
    assert "".join(heard) == "é[2Ja\n" and "\ufffd" not in heard


def test_forget_measures_before_and_after(place, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(forget, "islice", lambda rows, many: [  # a model of bytes reads short texts
        {name: value[:80] if isinstance(value, str) else value for name, value in row.items()}
        for row, _ in zip(rows, range(many), strict=False)
    ])  # fmt: skip
    given = ("--preset", "smoke", "--data", place / "own.jsonl", "--model", place / "llama", "--steps", 4)
    found = forget.main(config(forget, *given, "--out", tmp_path))
    assert list(found) == ["untuned", "rank 2", "all weights"]
    assert all(row.keys() >= {"val_loss", "prose", "code", "sentiment"} for row in found.values())
    assert found["rank 2"]["val_loss"] != found["untuned"]["val_loss"] and found["untuned"]["seconds"][0] == 0
    assert "| all weights |" in capsys.readouterr().out
    assert_picture(tmp_path / "forget.png")


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            ("--model", "nowhere"),
            "--model nowhere: no such folder, nor one of smollm2, llama3, mistral, smollm2-1.7b, nor",
        ),
        (
            ("--rank", "0", "--quantize", "nf4"),
            "--rank 0 with --quantize nf4: rounded weights cannot learn. Give a --rank",
        ),
        (("--trainer", "trl"), "--trainer trl takes --impl peft, and --no-pack."),
        (("--targets", "query"), "--targets query: no"),
        (
            ("--optimizer", "paged_adamw8bit"),
            "--optimizer paged_adamw8bit: there is no GPU whose memory it could leave",
        ),
        (("--max-len", "9"), "--max-len 9: of 96 examples none fits (96 prompts are as long as that"),
    ],
)
def test_what_is_refused(place, tmp_path, given, says):
    out = tmp_path / "run"
    assert refused(train.main, config(train, *flags(place, *given), "--out", out)).startswith(says)
    assert not out.exists(), "and nothing is left behind"


def test_a_gated_a_missing_and_an_unreachable_model(monkeypatch):
    import huggingface_hub
    from huggingface_hub import errors

    def of(kind):
        """Without the answer of a server that it is made from, which each version of the library takes otherwise."""
        return kind.__new__(kind)

    raised = {
        of(errors.GatedRepoError): "accept its licence at https://huggingface.co/meta-llama/Meta-",
        of(errors.RepositoryNotFoundError): "the hub has no meta-llama/Meta-Llama-3-8B-Instruct",
        OSError("no route"): "the hub does not answer (OSError). Fetch *.json, *.safetensors",
    }
    for error, says in raised.items():

        def fail(*arguments, error=error, **options):
            raise error

        monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
        assert refused(chat_models.folder_of, "llama3").startswith(f"--model llama3: {says}")


def test_adapters_of_another_model(place, run, tmp_path):
    shutil.copytree(run["run"], tmp_path / "run")
    tiny_llama(tmp_path / "deeper", layers=3)
    path = tmp_path / "run" / "config.json"
    path.write_text(path.read_text("utf-8").replace(str(place / "llama"), str(tmp_path / "deeper")), encoding="utf-8")
    assert refused(chat.main, config(chat, "a", "--adapter", tmp_path, "--model", place / "llama")).startswith(
        f"{tmp_path}: no adapter, adapter_config.json is not there."
    )


def test_the_page_shows_what_chat_says_of_both(place, run, capsys):
    both = app.Both(app.Config(run=run["run"], tokens=6, device="cpu"))
    talk = []
    for question in ("Say red", "Say blue"):
        *_, (talk, more) = app.answered(both, question, talk)
    assert not more and len(talk) == 2 and not both.one_at_a_time.locked()
    capsys.readouterr()
    said = chat.main(config(chat, "Say red", "--compare", "--run", run["run"], "--tokens", 6, "--device", "cpu"))
    assert [talk[0].answers[name].strip() for name in ("untuned", "tuned")] == said
    *_, (wrong, _) = app.answered(both, "x" * 2001, talk)
    assert "a question of 2,001 characters: 2,000 are the most." in app.written(wrong)
    assert app.said_to("tuned", wrong) == app.said_to("tuned", talk), "what went wrong is forgotten"
    both.closed.set()
    assert list(both.answer("Say red", ())) == [], "at its end nobody goes on"
    assert "&lt;b&gt;" in app.written([app.Turn("<b>", {"tuned": "<b>"}, {})])


def test_who_leaves_stops_the_writing():
    ended = threading.Event()

    def work(say):
        try:
            while True:
                say("a")
        finally:
            ended.set()

    words = app.streamed(work)
    assert next(words) == "a"
    words.close()
    assert ended.wait(20)

    def breaks(say):
        raise CourseError("no.")

    assert refused(list, app.streamed(breaks)) == "no."


def test_out_of_memory_names_three_flags_in_order_with_what_each_saves(place, monkeypatch):
    cfg = config(train, *flags(place))
    for error in (torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 12 bytes")):
        with pytest.raises(CourseError) as caught, oom.told(cfg):
            raise error
        line = str(caught.value)
        assert line.startswith("out of memory. Change, in this order: --checkpointing saves ") and "\n" not in line
        assert line.index("--checkpointing") < line.index("--accumulate 2 saves") < line.index("--quantize nf4 saves")
    with pytest.raises(RuntimeError, match="something else"), oom.told(cfg):
        raise RuntimeError("something else")
    small = config(train, *flags(place, "--checkpointing", "--accumulate", 8, "--quantize", "nf4", "--max-len", 64))
    assert [flag for flag, _ in oom.steps(small)] == ["--rank 4"]


def test_bad_flags():
    assert refused_flags(train, "--impl", "keras") == "--impl keras: must be one of scratch, peft."
    assert refused_flags(train, "--max-len", 4) == "--max-len 4: must be at least 8."
    assert json.loads(json.dumps(train.PRESETS)) == train.PRESETS and Path(train.__file__).name == "train.py"
