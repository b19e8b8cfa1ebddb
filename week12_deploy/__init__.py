"""Week 12: the bot in production: its embedder exported and quantised, a service over HTTP, a container, a Space."""

from shared.plan import Target, Week

WEEK = Week(
    number=12,
    title="Production Ready",
    lesson="Serving: ONNX and int8, a service that survives load, bad input and kill -9, a container, a Space",
    time="4 min",
    result="int8 embedder 3.7 x torch eager, cosine 0.992, same test hit@5; 0 lost in 50 kill -9",
    picture="figures/variants.png",
    targets=(
        Target("sample", "val_cosine", 0.98),
        Target("sample", "val_mrr", 0.818),  # a point below torch's
    ),
    models=("minilm", "smollm2"),
)
