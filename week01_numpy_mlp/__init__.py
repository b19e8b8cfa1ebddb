"""Week 1: a neural network from scratch, in NumPy alone."""

from shared.plan import Target, Week

WEEK = Week(
    number=1,
    title="The Neural Circuit",
    lesson="Build a neural net from scratch: perceptron, backpropagation, SGD to Adam, in NumPy alone",
    time="15 s on two CPU cores",
    result="to be measured",
    picture="figures/decision_boundary.png",
    targets=(Target("sample", "test_accuracy", 0.95), Target("mnist", "test_accuracy", 0.983)),
)
