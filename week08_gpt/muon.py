"""Muon: a step for matrices that is as large in every direction.

References
    K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024, kellerjordan.github.io/posts/muon
    J. Liu et al., "Muon is scalable for LLM training", arXiv:2502.16982, section 2

A gradient of a matrix is large in a few directions and small in the others, and Adam, which looks at each number by
itself, leaves it so. Muon replaces the matrix U S V^T (S: its singular values) by U V^T: all directions count the same.

torch.optim.Muon computes this in bf16 always, which a processor without bf16 units does fifty times slower: here it is
float32 on a CPU, and bf16 on a GPU.
"""

import math
from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

Matrix = Float[Tensor, "rows columns"]


def orthogonal(matrix: Matrix, steps: int = 5) -> Matrix:
    """Nearly U V^T, for the matrix U S V^T: singular values become 0.7 to 1.2 (but those next to 0), by products alone.

    Newton–Schulz: each step puts every singular value s through 3.4445 s - 4.775 s^3 + 2.0315 s^5, which lifts small
    ones fast and keeps large ones near 1. At first all are brought to at most 1, by the norm.
    """
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T  # the smaller side makes the smaller products
    x = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + torch.addmm(gram, gram, gram, beta=-4.775, alpha=2.0315) @ x
    return x if wide is matrix else x.T


class Muon(torch.optim.Optimizer):
    """Momentum, looking one step ahead (Nesterov), and then a step that is orthogonal. For matrices alone.

    A matrix with more rows than columns takes larger steps, by the root of their ratio: its outputs shall move as much.
    """

    def __init__(
        self, params: Iterable[Any], lr: float = 0.02, weight_decay: float = 0.1, momentum: float = 0.95
    ) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step down, with the gradients as they are."""
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(weight)
                mean = state["momentum_buffer"].lerp_(weight.grad, 1 - momentum)
                ahead = weight.grad.lerp(mean, momentum)
                ahead = orthogonal(ahead.bfloat16() if ahead.is_cuda else ahead).to(weight.dtype)
                weight.mul_(1 - lr * group["weight_decay"])
                weight.add_(ahead, alpha=-lr * math.sqrt(max(1, weight.shape[0] / weight.shape[1])))
