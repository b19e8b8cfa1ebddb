"""Week 10 against trl, peft and transformers: DPO's losses, rewards and gradients; GRPO's; the reward model; adapters.

The one file of the week that imports them. trl's losses stand inside its trainers' own step, so the trainers'
compute_loss is what we are held to, on a tiny random Llama in float64. Everything is made here.
"""

import copy
import math

import numpy as np
import pytest
import torch
from programs import Lazily, assert_picture, close, config

from shared.splits import Part, Splits
from week10_dpo import data, grpo, losses, model, ppo, rlhf

hf, trl, datasets, tokenizers = Lazily("transformers"), Lazily("trl"), Lazily("datasets"), Lazily("tokenizers")
WORDS = ("<pad>", "<end>", "please", "sorry", "thank", "you", "no", "go", "away", "what", "time", "is", "it", "help")
PAIRS = [
    {"prompt": "what time is it", "chosen": " sorry no", "rejected": " go away you"},
    {"prompt": "help", "chosen": " please thank you please help", "rejected": " no"},
    {"prompt": "is it time", "chosen": " it is", "rejected": " what is it go go away"},
]


def llama(seed=0):
    torch.manual_seed(seed)
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    made = hf.LlamaForCausalLM(
        hf.LlamaConfig(vocab_size=len(WORDS), num_key_value_heads=2, pad_token_id=0, eos_token_id=1, bos_token_id=None,
                       max_position_embeddings=64, **shape)
    )  # fmt: skip
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return made.double().eval()


def tokenizer():
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, "<pad>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    return hf.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>")


OFF = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "disable_tqdm": True,
       "gradient_checkpointing": False}  # fmt: skip


@pytest.fixture(scope="module")
def trainer(tmp_path_factory):
    """trl's DPOTrainer, and its batch of all pairs. Policy and reference are not the same."""
    args = trl.DPOConfig(output_dir=str(tmp_path_factory.mktemp("dpo")), per_device_train_batch_size=3, beta=0.3, **OFF)
    made = trl.DPOTrainer(
        model=llama(1), ref_model=llama(2), args=args, train_dataset=datasets.Dataset.from_list(PAIRS),
        processing_class=tokenizer(),
    )  # fmt: skip
    made.ref_model.double()
    return made, made.data_collator([made.train_dataset[i] for i in range(3)])


def ours(net, reference, batch):
    """(policy, reference) of our functions on trl's batch."""
    rows = batch["input_ids"], batch["attention_mask"], batch["completion_mask"].bool()
    with model.reference(net, reference) as asked:
        fixed = losses.LogProbs.halves(*model.log_probs(asked, *rows))
    return losses.LogProbs.halves(*model.log_probs(net, *rows)), fixed


@pytest.mark.parametrize(("ours_name", "theirs"), [("dpo", "sigmoid"), ("ipo", "ipo"), ("dpo_norm", "sigmoid_norm")])
def test_losses_rewards_and_gradients_equal_trl(trainer, ours_name, theirs):
    made, batch = trainer
    made.loss_types, made.loss_weights = [theirs], [1.0]
    made._metrics["train"].clear(), made._metrics["eval"].clear()
    net = made.model
    parameters = list(net.parameters())
    expected = made.compute_loss(net, batch)
    their_gradients = torch.autograd.grad(expected, parameters)
    policy, reference = ours(net, made.ref_model, batch)
    loss = losses.preference_loss(policy, reference, ours_name, beta=0.3).mean()
    close(loss, expected, f"the loss {ours_name}", 1e-6)
    for a, b in zip(torch.autograd.grad(loss, parameters), their_gradients, strict=True):
        close(a, b, f"a gradient of {ours_name}", 1e-6)
    seen = {name: values[-1] for name, values in (made._metrics["train"] | made._metrics["eval"]).items()}
    chosen, rejected = losses.rewards(policy, reference, 0.3)
    close(chosen.mean(), seen["rewards/chosen"], "the chosen rewards", 1e-6)
    close(rejected.mean(), seen["rewards/rejected"], "the rejected rewards", 1e-6)
    close(losses.margins(chosen, rejected).mean(), seen["rewards/margins"], "the margins", 1e-6)
    assert losses.accuracy(chosen, rejected) == pytest.approx(seen["rewards/accuracies"])
    close(policy.chosen.mean(), seen["logps/chosen"], "the chosen log-probabilities", 1e-6)


def test_it_starts_at_ln_2_and_the_reference_never_changes(trainer):
    _, batch = trainer
    net = llama(1)  # a copy of trl's would compute with the original's weights: trl binds its forward to the model
    reference = model.frozen(net)
    before = model.fingerprint(reference)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-2)
    rows = batch["input_ids"], batch["attention_mask"], batch["completion_mask"].bool()
    kept = model.reference_log_probs(net, [rows], reference)[0]
    for step in range(8):
        policy, fixed = ours(net, reference, batch)
        close(kept.chosen, fixed.chosen, "what was kept of the reference, against what it says now,", 1e-12)
        close(kept.rejected, fixed.rejected, "what was kept of the reference, against what it says now,", 1e-12)
        loss = losses.preference_loss(policy, kept).mean()
        if not step:
            close(loss, math.log(2), "the first loss", 1e-12)
            assert not losses.margins(*losses.rewards(policy, kept)).any()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.4, "three pairs are not learned in eight steps"
    assert losses.accuracy(*losses.rewards(*ours(net, reference, batch))) == 1
    assert model.fingerprint(reference) == before != model.fingerprint(net)
    assert not any(p.requires_grad for p in reference.parameters())


def test_with_adapters_the_reference_is_the_model_without_them(trainer):
    _, batch = trainer
    rows = batch["input_ids"], batch["attention_mask"], batch["completion_mask"].bool()
    plain = llama(3)
    expected = model.log_probs(plain, *rows)[0].detach()
    torch.manual_seed(0)
    net = model.with_adapters(copy.deepcopy(plain), rank=4, dropout=0.5).train()
    before = model.fingerprint(net)
    learned = [p for p in net.parameters() if p.requires_grad]
    assert 0 < sum(p.numel() for p in learned) < sum(p.numel() for p in plain.parameters())
    optimizer = torch.optim.AdamW(learned, 1e-2)
    for _ in range(3):
        policy, fixed = ours(net, None, batch)
        loss = losses.preference_loss(policy, fixed).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        close(torch.cat([fixed.chosen, fixed.rejected]), expected, "the reference's log-probabilities", 1e-9)
        assert net.training
    assert model.fingerprint(net) == before
    assert not torch.allclose(model.log_probs(net.eval(), *rows)[0], expected)


def test_a_reward_model_equals_transformers(trainer):
    _, batch = trainer
    ids, attention = batch["input_ids"], batch["attention_mask"]
    config = llama(4).config
    config.num_labels = 1
    theirs = hf.LlamaForSequenceClassification(config).eval()
    mine = model.RewardModel(llama(4).float()).eval()
    theirs.model.load_state_dict(mine.backbone.state_dict())
    theirs.score.load_state_dict(mine.score.state_dict())
    expected = theirs(input_ids=ids, attention_mask=attention).logits[:, 0]
    close(mine(ids, attention), expected, "the scores", 1e-6)
    last = (attention.sum(1) - 1).tolist()
    left = [torch.stack([row.roll(row.numel() - 1 - n) for row, n in zip(rows, last, strict=True)])
            for rows in (ids, attention)]  # fmt: skip
    assert not left[1][:, 0].all() and left[1][:, -1].all()
    close(mine(*left), expected, "the scores of rows padded on the left", 1e-5)


def test_logits_before_the_answer_are_not_needed(trainer):
    made, batch = trainer
    ids, attention, answer = batch["input_ids"], batch["attention_mask"], batch["completion_mask"].bool()
    whole = losses.sequence_log_probs(made.model(ids, attention_mask=attention).logits, ids, answer)
    found, tokens = model.log_probs(made.model, ids, attention, answer)
    close(found, whole, "the log-probabilities", 1e-12)
    assert tokens.tolist() == answer.sum(1).tolist()


# ---------------------------------------------------------------- GRPO


def test_grpo_equals_trl(tmp_path):
    """Its advantages, from its own step that writes and scores answers; and its loss and gradients on those answers."""
    scores = [1.0, 3.0, -2.0, 0.5, 2.0, 2.0, 2.0, 2.0]
    args = trl.GRPOConfig(
        output_dir=str(tmp_path), per_device_train_batch_size=8, num_generations=4, max_completion_length=6, beta=0.0,
        loss_type="grpo", temperature=1.0, num_iterations=2, **OFF,
    )  # fmt: skip
    made = trl.GRPOTrainer(
        model=llama(1), reward_funcs=lambda completions, **_: scores, args=args,
        train_dataset=datasets.Dataset.from_list([{"prompt": pair["prompt"]} for pair in PAIRS]),
        processing_class=tokenizer(),
    )  # fmt: skip
    made.beta, made.ref_model = 0.2, llama(2)  # given a beta at once, it would look for the reference on the hub
    trl.trainer.utils.add_fused_lm_head(made.ref_model)
    prompts = [{"prompt": PAIRS[i // 4]["prompt"]} for i in range(8)]
    made.model.train()
    batch = made._generate_and_score_completions(prompts)
    close(grpo.group_advantages(torch.tensor(scores), 4), batch["advantages"], "the advantages", 1e-6)
    shift = torch.randn(batch["completion_ids"].shape, generator=torch.Generator().manual_seed(5)).double()
    batch["old_per_token_logps"] = batch["old_per_token_logps"].double() + 0.3 * shift  # so that the clip is at work
    made.current_gradient_accumulation_steps = 1
    parameters = list(made.model.parameters())
    ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
    attention = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
    start = batch["prompt_ids"].shape[1] - 1

    def log_probs(net):
        return losses.token_log_probs(net(ids, attention_mask=attention).logits, ids)[:, start:]

    with torch.no_grad():
        reference = log_probs(made.ref_model)
    close(reference * batch["completion_mask"], batch["ref_per_token_logps"], "the reference's log-probabilities", 1e-6)
    for unbiased in (True, False):
        made.args.use_bias_correction_kl = unbiased
        expected = made._compute_loss(made.model, batch)
        loss = grpo.grpo_loss(
            log_probs(made.model), batch["old_per_token_logps"], reference, batch["advantages"],
            batch["completion_mask"].bool(), clip=0.2, beta=0.2, unbiased=unbiased,
        )  # fmt: skip
        close(loss, expected, "the loss of GRPO", 1e-6)
        theirs = torch.autograd.grad(expected, parameters)
        for a, b in zip(torch.autograd.grad(loss, parameters), theirs, strict=True):
            close(a, b, "a gradient of GRPO", 1e-6)


# ---------------------------------------------------------------- with a language model


def test_ppo_and_grpo_teach_a_language_model(trainer):
    """Answers get a point for each `please`: both find that out, and PPO's value head what to expect."""
    prompts = [[13], [11, 12], [9, 10, 11, 12]] * 8

    def points(written):
        return ((written.ids == 2) & written.answer).sum(1).float()

    for name in ("ppo", "grpo"):
        torch.manual_seed(0)
        policy = llama(5).float()
        reference = model.frozen(policy)
        actor = ppo.ActorCritic(policy)
        optimizer = torch.optim.Adam(actor.parameters(), 5e-3)
        draw, means = torch.Generator().manual_seed(0), []
        for _ in range(10):
            asked = prompts if name == "ppo" else [prompt for prompt in prompts[:4] for _ in range(8)]
            written = ppo.write(policy, asked, 6, end=1, pad=0)
            scores = points(written)
            means.append(scores.mean().item())
            with torch.no_grad():
                logits = reference(written.ids, attention_mask=written.attention).logits
                fixed = losses.token_log_probs(logits, written.ids)
            if name == "ppo":
                rollout = ppo.judge(actor, fixed, written, scores, beta=0.02)
                ppo.update(actor, optimizer, rollout, ppo.PPOConfig(), draw)
            else:
                grpo.update(policy, optimizer, written, fixed, scores, grpo.GRPOConfig(epochs=2))
        assert sum(means[-3:]) / 3 > 2 + sum(means[:2]) / 2, f"{name}: {means}"


def test_answers_are_what_the_model_wrote(trainer):
    """A short prompt and a long one in a batch: ids, what is answer, where it ends."""
    torch.manual_seed(0)
    net = llama(6).train()
    written = ppo.write(net, [[13], [9, 10, 11, 12]], 5, end=1, pad=0)
    assert net.training
    for row, prompt in enumerate([[13], [9, 10, 11, 12]]):
        assert written.ids[row, : len(prompt)].tolist() == prompt and not written.answer[row, : len(prompt)].any()
        length = int(written.attention[row].sum())
        assert written.answer[row, len(prompt) : length].all() and not written.answer[row, length:].any()
        assert 1 <= length - len(prompt) <= 5
        answer = written.ids[row, len(prompt) : length].tolist()
        assert 1 not in answer[:-1], "it goes on behind its end"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(net, "generate", lambda **_: torch.tensor([[0, 0, 0, 13, 5, 1, 0], [9, 10, 11, 12, 5, 5, 5]]))
        ended = ppo.write(net, [[13], [9, 10, 11, 12]], 3, end=1, pad=0)
    assert ended.ids.tolist() == [[13, 5, 1, 0, 0, 0, 0], [9, 10, 11, 12, 5, 5, 5]]
    assert ended.answer.int().tolist() == [[0, 1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 1, 1, 1]]
    assert ended.mask.shape == (2, 6)


def test_rlhf_and_dpo_go_from_the_same_reference(tmp_path):
    """All of rlhf.py but its judge, at its smallest: from three prompts and their pairs."""
    item = [data.Pair((("user", pair["prompt"]),), pair["chosen"], pair["rejected"]) for pair in PAIRS * 6]
    pairs = Splits("made up", Part(tuple(item)), Part(tuple(item[:3])), Part(()))
    rows, ways = rlhf.once(config(rlhf, "--preset", "smoke"), 0, pairs, lambda texts: np.ones(len(texts)))
    assert [row["method"] for row in rows] == ["reference", *rlhf.METHODS]
    assert abs(rows[0]["kl"]) < 1e-6 and rows[0]["prefers"] == 0, "the reference is not the reference"
    assert all(abs(row["kl"]) > 1e-6 for row in rows[1:]), "nothing was learned"
    rlhf.draw(tmp_path / "rlhf.png", ways)
    assert_picture(tmp_path / "rlhf.png")
