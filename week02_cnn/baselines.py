"""What a network without convolutions reaches: logistic regression on the pixels, and week 1's kind of network.

Both are trained by train.py's own loop, each with the recipe that was best for it on val.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

MLP_NAME, LOGISTIC = "week 1's kind of network", "logistic regression"
RECIPES: dict[str, dict[str, Any]] = {
    MLP_NAME: {"lr": 0.01, "weight_decay": 0.02},
    LOGISTIC: {"lr": 0.001, "weight_decay": 0.1},
}
"""What is different from the flags of train.py, by the name of the baseline."""


class MLP(nn.Module):
    """Week 1's network: Linear, ReLU, Linear, …, on the pixels in a row, whichever is beside which.

    Without a hidden layer it is multinomial logistic regression.
    """

    def __init__(self, side: int, hidden: Sequence[int], classes: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]  # (N, 3, H, W) -> (N, 3 * H * W)
        for fan_in, fan_out in pairwise((3 * side * side, *hidden, classes)):
            if len(layers) > 1:
                layers.append(nn.ReLU())
            layers.append(nn.Linear(fan_in, fan_out))
            nn.init.kaiming_normal_(layers[-1].weight, nonlinearity="relu" if hidden else "linear")
            nn.init.zeros_(layers[-1].bias)
        if not hidden:
            nn.init.zeros_(layers[-1].weight)  # where there is nothing to tell apart, zero is the fairest start
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N classes"]:
        """The logits for normalised images."""
        return self.layers(x)


def hidden_sizes(name: str, params: int, side: int, classes: int) -> tuple[int, ...]:
    """The hidden layers of a baseline: none of logistic regression, two of an MLP, the second half as wide.

    It gets about `params` numbers: with h and h / 2 neurons it has h² / 2 + (features + 1.5 + classes / 2) h + classes,
    solved for h. Each neuron of the first layer costs as many numbers as an image has, so a small network leaves next
    to none; below 32 and 16 an MLP is no rival, so it has those at least, and is the larger one.
    """
    if name == LOGISTIC:
        return ()
    b = 3 * side * side + 1.5 + classes / 2
    h = max(32, round(sqrt(b * b + 2 * max(0, params - classes)) - b))
    return h, round(h / 2)
