"""Week 2: convolutional networks, deeper against wider, in PyTorch."""

from shared.plan import Target, Week

WEEK = Week(
    number=2,
    title="The Eye",
    lesson="Convolutions, pooling and batch norm from scratch; then a ConvNet family: deeper against wider",
    time="2 min",
    result="70.2 % of the bundled photographs (logistic regression 39.6 %); CIFAR-10 87.4 %",
    picture="figures/depth_or_width.png",
    targets=(Target("cifar10", "test_accuracy", 0.82), Target("sample", "test_accuracy", 0.55)),
)
