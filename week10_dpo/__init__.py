"""Week 10: preferences: pairs of answers teach a published language model to be polite; DPO beside RLHF."""

from shared.plan import Target, Week

WEEK = Week(
    number=10,
    title="The Aligned Assistant",
    lesson="SFT, then DPO: pairs of answers teach a published model to be polite; PPO and GRPO beside it",
    time="9 min",
    result="93.3 % of unseen polite/rude pairs told apart (before DPO 89.4, bag of words 63.4)",
    picture="figures/rewards.png",
    targets=(Target("sample", "test_accuracy", 0.90),),  # of preferred answers, on held-out polite/rude pairs
    models=("smollm2", "minilm"),
)
