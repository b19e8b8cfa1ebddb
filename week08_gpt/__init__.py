"""Week 8: GPT from scratch: byte-level BPE, a causal Transformer with a cache, and sampling; it completes functions."""

from shared.plan import Target, Week

WEEK = Week(
    number=8,
    title="The Creator",
    lesson="A mini-GPT with its own tokenizer, cache and sampler, trained on Python code, completes functions",
    time="5 min",
    result="1.54 bits per byte of unseen modules (n-gram 1.60)",
    picture="figures/temperatures.png",
    targets=(Target("sample", "test_bits_per_byte", 1.6, higher_is_better=False),),  # the n-gram has 1.60
)
