"""Week 14: an image search engine: type text, find matching pictures; and how a text becomes a picture."""

from shared.plan import Target, Week

WEEK = Week(
    number=14,
    title="Image Search Engine",
    lesson="CLIP: pictures and texts in one space, searched by words; and the basics of Stable Diffusion, from scratch",
    time="1 min",
    result="34 % of texts find their drawing among the first ten of 240: new things, a new style (chance 4, tags 80.5)",
    picture="figures/search.png",
    targets=(Target("flickr8k", "test_recall_at_10", 0.40),),
    models=("efficientnet-lite0", "minilm"),
)
