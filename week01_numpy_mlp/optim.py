"""How a gradient becomes a step: SGD with momentum, Adam, and the learning rate over time.

References
    B. Polyak 1964; I. Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013
    D. Kingma, J. Ba, "Adam", ICLR 2015 (algorithm 1)
    I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019 (AdamW); "SGDR", ICLR 2017 (cosine)

An optimiser sees the network as one long vector of parameters and one of gradients, and changes the first in place.
It may use the gradient's memory as scratch paper: the next backward pass fills it anew.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

Vector = Float[np.ndarray, "params"]


class SGD:
    """v ← momentum · v + (g + weight_decay · w), then w ← w - lr · v, as torch.optim.SGD defines it."""

    def __init__(self, params: Vector, momentum: float = 0.0, weight_decay: float = 0.0) -> None:
        self.params = params
        self.momentum, self.weight_decay = momentum, weight_decay
        self.velocity = np.zeros_like(params) if momentum else None

    def step(self, grads: Vector, lr: float) -> None:
        """One step downhill. In place throughout (+=, *=): a temporary vector costs as much time as the sum itself."""
        if self.weight_decay:
            grads += self.weight_decay * self.params
        if self.velocity is not None:
            self.velocity *= self.momentum
            self.velocity += grads
            np.multiply(self.velocity, lr, out=grads)
        else:
            grads *= lr
        self.params -= grads

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold for the next step to come out the same."""
        return {"velocity": self.velocity}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what `state_dict` returned."""
        if self.velocity is not None:
            self.velocity[:] = state["velocity"]


class Adam:
    """Adam; with weight_decay it is AdamW: the weights shrink by lr · weight_decay beside the step, not through g."""

    def __init__(
        self, params: Vector, weight_decay: float = 0.0, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8
    ) -> None:
        self.params = params
        self.weight_decay, self.betas, self.eps = weight_decay, betas, eps
        self.m, self.v = np.zeros_like(params), np.zeros_like(params)  # running means of g and of g²
        self.t = 0

    def step(self, grads: Vector, lr: float) -> None:
        """One step. Divided by the root of its recent square, each parameter moves by about lr, however steep it is."""
        if self.weight_decay:
            self.params *= 1 - lr * self.weight_decay
        beta1, beta2 = self.betas
        # exercise 6: Adam
        # grads (params,) and lr, a number -> self.params (params,), moved in place: the network looks at the same
        # memory. The running means self.m of grads and self.v of grads², (params,) each, and self.t, how many steps
        # there have been, move on with it. m and v begin at zero, and the step is corrected for that bias.
        # hint: Kingma and Ba, algorithm 1. t + 1 first. m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g².
        # Then, without changing m and v, m_hat = m / (1 - beta1^t) and v_hat = v / (1 - beta2^t). Then self.params -=
        # lr m_hat / (sqrt(v_hat) + eps), with eps outside of the root.
        self.t += 1
        self.m *= beta1
        self.m += (1 - beta1) * grads
        self.v *= beta2
        self.v += (1 - beta2) * grads * grads
        m_hat = self.m / (1 - beta1**self.t)
        v_hat = self.v / (1 - beta2**self.t)
        self.params -= lr * m_hat / (np.sqrt(v_hat) + self.eps)
        # end of exercise 6

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold for the next step to come out the same."""
        return {"m": self.m, "v": self.v, "t": self.t}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what `state_dict` returned."""
        self.m[:], self.v[:], self.t = state["m"], state["v"], state["t"]


def learning_rate(step: int, steps: int, peak: float, schedule: str, warmup: float = 0.05) -> float:
    """The learning rate of `step` (0 to steps - 1).

    constant: always `peak`. cosine: rises in a straight line over the first `warmup` share of the steps, then falls to
    zero along half a cosine wave: large steps first to get somewhere, small ones at the end to settle.
    """
    if schedule == "constant":
        return peak
    rise = max(1, round(warmup * steps))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))
