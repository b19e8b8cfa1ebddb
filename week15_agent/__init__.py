"""Week 15: an agent that thinks, acts and observes: SmolLM2 learns to use a calculator and a search."""

from shared.plan import Target, Week

WEEK = Week(
    number=15,
    title="The Agent",
    lesson="ReAct and function calling: a small language model learns to use a calculator and a search, in a graph",
    time="10 min",
    result="49 ± 2 % of questions in new wordings, after half an hour 72 % (untrained 2 %, rules by hand 60 %)",
    picture="figures/trace.png",
    targets=(
        Target("sample", "test_success_arithmetic", 0.90),
        Target("sample", "test_success_story", 0.60),
        Target("sample", "test_success_lookup_sum", 0.80),
    ),
    models=("minilm", "smollm2"),
)
