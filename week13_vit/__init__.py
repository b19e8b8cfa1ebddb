"""Week 13: a vision transformer, fine-tuned for X-rays."""

from shared.plan import Target, Week

WEEK = Week(
    number=13,
    title="New Vision",
    lesson="A vision transformer from scratch, pretrained and fine-tuned for chest X-rays; where does it look?",
    time="3 min",
    result="AUROC 0.93 on simulated radiographs (CNN 0.996, logistic regression 0.80); PneumoniaMNIST 0.98",
    picture="figures/rollout.png",
    targets=(Target("pneumoniamnist", "test_auroc", 0.96),),
)
