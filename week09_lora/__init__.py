"""Week 9: LoRA, weights in 4 and 8 bits, and what fine-tuning costs: a published language model learns instructions."""

from shared.plan import Target, Week

WEEK = Week(
    number=9,
    title="The Consumer-Grade LLM",
    lesson="LoRA and 4-bit weights from scratch; SmolLM2 is tuned on instructions, and what it forgets is measured",
    time="7 min",
    result="52.1 % of new wordings answered exactly (untuned 4.2)",
    picture="figures/obeyed.png",
    targets=(Target("sample", "test_exact", 0.5),),
    models=("smollm2",),
)
