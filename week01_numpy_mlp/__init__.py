"""Week 1: a neural network from scratch, in NumPy alone."""

from shared.plan import Target, Week

WEEK = Week(
    number=1,
    title="The Neural Circuit",
    lesson="Build a neural net from scratch: perceptron, backpropagation, SGD to Adam, in NumPy alone",
    time="8 s",
    result="98.0 % of the bundled digits (logistic regression 91.5 %); MNIST 98.5 % plain, 99.2 % with shifts",
    picture="figures/decision_boundary.png",
    targets=(Target("sample", "test_accuracy", 0.97), Target("mnist", "test_accuracy", 0.983)),
)
