"""Week 6: the Transformer from scratch: attention, heads, positions, norms; it reverses, sorts, adds and translates."""

from shared.plan import Target, Week

WEEK = Week(
    number=6,
    title="The Engine",
    lesson="Multi-head attention and the whole Transformer, piece by proven piece; it sorts, adds and translates",
    time="5 min",
    result="99.96 % of unseen strings reversed whole (GRU without attention 98.2 %)",
    picture="figures/attention_sort.png",
    targets=(
        Target("reverse (synthetic)", "test_exact", 1.0),
        Target("sort (synthetic)", "test_exact", 1.0),
        Target("copy (synthetic)", "test_exact", 1.0),
        Target("add (synthetic)", "test_exact", 0.99),
    ),
)
