"""Week 5: a recurrent translator with attention, and the maps of what it looks at."""

from shared.plan import Target, Week

WEEK = Week(
    number=5,
    title="Focus",
    lesson="Attention: a recurrent network translates English to French, and shows which word it is looking at",
    time="5 min",
    result="BLEU 36.5 on the bundled sentences (without attention 22.4, a dictionary 13.9)",
    picture="figures/alignments.png",
    targets=(Target("anki", "test_bleu", 50.0), Target("sample", "test_bleu", 25.0)),
)
