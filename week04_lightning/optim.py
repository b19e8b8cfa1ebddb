"""Optimisers, learning-rate schedules and weight averages.

References
    B. Polyak 1964; I. Sutskever et al., ICML 2013: momentum, and Nesterov's form of it
    D. Kingma, J. Ba, "Adam", ICLR 2015; I. Loshchilov, F. Hutter, "Decoupled weight decay", ICLR 2019 (AdamW)
    K. Jordan et al., "Muon: an optimizer for hidden layers in neural networks", kellerjordan.github.io/posts/muon, 2024
    L. Smith, N. Topin, "Super-convergence", arXiv:1708.07120: one-cycle
    I. Loshchilov, F. Hutter, "SGDR", ICLR 2017: cosine
    P. Izmailov et al., "Averaging weights leads to wider optima and better generalization", UAI 2018: SWA
    T. Karras et al. and many before: exponential moving average (EMA) of the weights
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

OPTIMIZERS = ("sgd", "adam", "adamw", "muon")
SCHEDULES = ("constant", "step", "cosine", "onecycle", "linear")
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Jordan's: steep at 0, so that few steps are enough


# ---------------------------------------------------------------- Muon


def orthogonalised(matrix: Float[Tensor, "rows columns"], steps: int = 5) -> Float[Tensor, "rows columns"]:
    """The matrix with all its singular values brought near 1 (0.68 to 1.14), directions kept: U S Vᵀ becomes U S' Vᵀ.

    An SVD would be exact, and slow. A Newton-Schulz iteration is matrix products alone: each step replaces every
    singular value s by a·s + b·s³ + c·s⁵, without anyone having to know them.
    """
    a, b, c = COEFFICIENTS
    rows, columns = matrix.shape
    X = matrix.bfloat16() if matrix.is_cuda else matrix  # as published; a CPU without bf16 units would crawl
    # exercise 5: Muon, Newton-Schulz
    # X (rows, columns) -> the same shape, in the dtype of `matrix`: X divided by its Frobenius norm plus 1e-7, so that
    # zeros stay zeros, then `steps` times
    # every singular value s made a s + b s³ + c s⁵, by matrix products alone. None of them need be square with the
    # long side of X.
    # hint: X Xᵀ X has the directions of X and the cubes of its singular values; so a step is a X + b (X Xᵀ) X + c (X
    # Xᵀ)² X, and X Xᵀ is needed once. It is (rows, rows): where that is the long side, work on the transpose.
    X = X / (X.norm() + 1e-7)
    if rows > columns:
        X = X.T
    for _ in range(steps):
        A = X @ X.T  # (short, short)
        X = a * X + (b * A + c * A @ A) @ X
    if rows > columns:
        X = X.T
    return X.to(matrix.dtype)
    # end of exercise 5


class Muon(torch.optim.Optimizer):
    """MomentUm Orthogonalised by Newton-Schulz for matrices, and SGD with Nesterov momentum for all the rest.

    A gradient matrix is nearly always dominated by a few directions. Orthogonalised, all of them get an equal step. It
    is meant for hidden weights: a convolution's (C_out, C_in, h, w) are taken as a matrix (C_out, C_in * h * w).

    Args:
        params: parameters, or groups of them with values of their own; "matrices" says whether a group is for Muon.
        lr: how long a step is. A matrix moves by lr whatever its gradient's size.
        momentum: how much of the last step is kept.
        weight_decay: of matrices beside the step (p shrinks by lr * weight_decay), of the rest through the gradient.
        steps: of Newton-Schulz.
        fixed_norm: brings a matrix to the norm √C_out before each step. Where batch norm follows, the size of the
            weights has no effect but on the size of the next step, so it may as well stay (airbench does it).
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        steps: int = 5,
        fixed_norm: bool = False,
        matrices: bool = True,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        super().__init__(params, defaults | {"steps": steps, "fixed_norm": fixed_norm, "matrices": matrices})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step. `closure`, where given, computes the loss and the gradients first (Lightning hands one over)."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self.matrix_step if group["matrices"] else self.sgd_step
            for param in group["params"]:
                if param.grad is not None:
                    state = self.state[param]
                    if not state:
                        state["velocity"] = torch.zeros_like(param)
                    update(param, param.grad, state["velocity"], group)
        return loss

    @staticmethod
    def matrix_step(param: Tensor, grad: Tensor, velocity: Tensor, group: dict[str, Any]) -> None:
        """Muon's step of one parameter of at least two dimensions, in place."""
        lr, momentum, shape = group["lr"], group["momentum"], param.shape
        if group["fixed_norm"]:
            param.mul_(shape[0] ** 0.5 / param.norm())
        # exercise 5: Muon, a step
        # param, grad, velocity, all of one shape (C_out, …); nothing is returned. In place: velocity becomes momentum *
        # velocity + grad; param shrinks by lr * group["weight_decay"] of itself, then goes lr down the orthogonalised
        # matrix (C_out, all the rest) of Nesterov's look ahead, √(rows / columns) times as far where rows > columns.
        # hint: the look ahead is the gradient plus momentum times the velocity, the new one. Rows and columns are those
        # of the matrix, not of a convolution's kernel. The weights shrink first, and the matrix goes back into their
        # shape.
        velocity.mul_(momentum).add_(grad)
        ahead = (grad + momentum * velocity).reshape(shape[0], -1)  # (C_out, C_in * h * w)
        direction = orthogonalised(ahead, group["steps"])
        rows, columns = direction.shape
        param.mul_(1 - lr * group["weight_decay"])
        param.add_(direction.reshape(shape), alpha=-lr * max(1, rows / columns) ** 0.5)
        # end of exercise 5

    @staticmethod
    def sgd_step(param: Tensor, grad: Tensor, velocity: Tensor, group: dict[str, Any]) -> None:
        """What torch.optim.SGD does with nesterov=True, for one parameter, in place."""
        grad = grad + group["weight_decay"] * param
        velocity.mul_(group["momentum"]).add_(grad)
        param.add_(grad + group["momentum"] * velocity, alpha=-group["lr"])


# ---------------------------------------------------------------- which parameter gets which step

KINDS = ("filters", "head", "biases", "whiten")


def kind_of(name: str, param: Tensor) -> str:
    """filters (hidden weights), head (the last layer), biases (with batch norm's), or whiten (SpeedNet's first)."""
    if name.startswith("whiten"):
        return "whiten"
    if name.startswith("head"):
        return "head"
    return "filters" if param.ndim >= 2 else "biases"


def make_optimizer(named_parameters: Iterable[tuple[str, Tensor]], cfg: Any) -> torch.optim.Optimizer:
    """The optimiser of a recipe, with a group for each kind of parameter that is there.

    Args:
        named_parameters: net.named_parameters(); the last layer is called head. Frozen ones are left out.
        cfg: optimizer, lr, momentum, weight_decay, nesterov, head_lr, bias_lr, muon_momentum, muon_steps and
            fixed_norm, as described in train.Config.

    Weight decay shrinks every kind by lr * weight_decay a step, also where its own learning rate is another.
    """
    kinds: dict[str, list[Tensor]] = {kind: [] for kind in KINDS}
    for name, param in named_parameters:
        if param.requires_grad:
            kinds[kind_of(name, param)].append(param)
    rates = {"filters": cfg.lr, "head": cfg.head_lr or cfg.lr, "biases": cfg.bias_lr or cfg.lr}
    rates["whiten"] = rates["biases"]
    groups = [
        {"params": params, "name": kind, "lr": rates[kind], "weight_decay": cfg.weight_decay * cfg.lr / rates[kind]}
        for kind, params in kinds.items()
        if params
    ]
    if cfg.optimizer == "sgd":
        return torch.optim.SGD(groups, cfg.lr, cfg.momentum, nesterov=cfg.nesterov and cfg.momentum > 0)
    if cfg.optimizer == "adam":
        return torch.optim.Adam(groups, cfg.lr)
    if cfg.optimizer == "adamw":
        return torch.optim.AdamW(groups, cfg.lr)
    for group in groups:
        group["matrices"] = group["name"] == "filters"
        group["momentum"] = cfg.muon_momentum if group["matrices"] else cfg.momentum
    return Muon(groups, cfg.lr, steps=cfg.muon_steps, fixed_norm=cfg.fixed_norm)


# ---------------------------------------------------------------- the learning rate over time


def schedule(name: str, steps: int, warmup: float = 0.0) -> Callable[[int], float]:
    """A function from the step (0 to steps - 1) to the share of the peak learning rate, for LambdaLR.

    Args:
        name: constant; step (a tenth after half, a hundredth after three quarters of the steps); linear (a straight
            line up, another down to zero: with warmup 0.25 it is week 2's); cosine (a straight line up, then half a
            cosine wave down to zero); onecycle (both ways along a cosine: torch's OneCycleLR).
        steps: of the whole training.
        warmup: the share of the steps in which the rate rises (not of constant and step).
    """

    def constant(step: int) -> float:
        return 1.0

    def stairs(step: int) -> float:
        return 0.1 ** sum(step >= share * steps for share in (0.5, 0.75))

    def linear(step: int) -> float:
        progress = (step + 1) / (steps + 1)
        return progress / warmup if progress < warmup else (1 - progress) / (1 - warmup)

    def cosine(step: int) -> float:
        progress = (step + 1) / (steps + 1)
        if progress < warmup:
            return progress / warmup
        return (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2

    def onecycle(step: int) -> float:
        start, end = 1 / 25, 1 / 25e4
        peak = warmup * steps - 1  # the step at which the rate is highest; it need not be a whole number
        # exercise 6: one cycle
        # step (0, 1, …) -> its rate, a number from `end` to 1: `start` at step 0, up to 1 at step `peak`, down to `end`
        # at step steps - 1, and `end` from there on; both ways along half a cosine wave. Where peak is 0 the first rate
        # is 1; where it is below 0 the way down began there.
        # hint: with the share `done` of the way from `low` to `high`, 0 to 1, the rate is low + (high - low) * (1 -
        # cos(pi * done)) / 2, on the way up and on the way down. Mind that nothing is divided by 0, and that behind the
        # last step done stays 1.
        if step <= peak:
            low, high, done = start, 1.0, step / peak if peak else 1.0
        else:
            low, high, done = 1.0, end, min(1.0, (step - peak) / max(1e-9, steps - 1 - peak))
        return low + (high - low) * (1 - math.cos(math.pi * done)) / 2
        # end of exercise 6

    return {"constant": constant, "step": stairs, "linear": linear, "cosine": cosine, "onecycle": onecycle}[name]


def whiten_steps(cfg: Any, steps: int) -> float:
    """In how many of all the steps SpeedNet's whitening bias learns (0: in all of them, as the others do)."""
    return steps * min(1.0, cfg.whiten_epochs / cfg.epochs)


def group_schedules(optimizer: torch.optim.Optimizer, cfg: Any, steps: int) -> list[Callable[[int], float]]:
    """The schedule of each group of an optimiser. SpeedNet's whitening bias has one of its own: a line down to zero.

    Args:
        optimizer: from make_optimizer.
        cfg: schedule, warmup, epochs and whiten_epochs.
        steps: of the whole training.
    """
    rate, end = schedule(cfg.schedule, steps, cfg.warmup), whiten_steps(cfg, steps)

    def whiten(step: int) -> float:
        return max(0.0, 1 - step / end)

    return [whiten if end and group["name"] == "whiten" else rate for group in optimizer.param_groups]


# ---------------------------------------------------------------- averages of the weights


@dataclass(frozen=True)
class MovingAverage:
    """EMA: after each step the average moves towards the weights by 1 - decay of what separates them."""

    decay: float

    def __call__(self, average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        return average + (1 - self.decay) * (current - average)  # lerp would refuse the whole numbers among buffers


@dataclass(frozen=True)
class EqualAverage:
    """SWA: the plain mean of all weights that came after the first `skip`; until then the weights themselves."""

    skip: int

    def __call__(self, average: Tensor, current: Tensor, count: Tensor | int) -> Tensor:
        behind = int(count) - self.skip
        return current.clone() if behind <= 0 else average + (current - average) / (behind + 1)
