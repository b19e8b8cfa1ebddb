"""A neural network in NumPy, to be read from top to bottom: a perceptron, the layers, the losses, the network.

References
    F. Rosenblatt, "The perceptron", Psychological Review 65, 1958
    D. Rumelhart, G. Hinton, R. Williams, "Learning representations by back-propagating errors", Nature 323, 1986
    M. Nielsen, "Neural Networks and Deep Learning", 2015: chapters 1 (network), 2 (BP1 to BP4), 3 (cross-entropy)
    X. Glorot, Y. Bengio, AISTATS 2010 and K. He et al., ICCV 2015: how to initialise the weights
    N. Srivastava et al., "Dropout", JMLR 15, 2014

Where Nielsen writes one example as a column and weights as w[to, from], here a batch of examples stands in rows and
weights as W[from, to], as in every library: z = x @ W + b. A gradient has the name of its variable with a d in front:
dz stands for ∂C/∂z, Nielsen's δ. The four equations of backpropagation stand beside the lines that compute them:

    BP1  δ of the last layer = ∂C/∂a ⊙ σ'(z)           the loss's gradient, through the last activation
    BP2  δ of a layer below  = (δ above @ Wᵀ) ⊙ σ'(z)   Linear.backward, then the activation's backward
    BP3  ∂C/∂b = δ                                      summed over the batch
    BP4  ∂C/∂W = a belowᵀ @ δ                           summed over the batch
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Matrix = Float[np.ndarray, "batch features"]
Inputs, Outputs = Float[np.ndarray, "batch fan_in"], Float[np.ndarray, "batch fan_out"]
Scores = Float[np.ndarray, "batch classes"]
Labels = Int[np.ndarray, " batch"]


class Perceptron:
    """Rosenblatt's neuron: fires where w·x + b > 0, and learns from its mistakes alone."""

    def __init__(self, features: int) -> None:
        self.w = np.zeros(features)
        self.b = 0.0

    def predict(self, x: Matrix) -> Labels:
        """1 for every row of x (batch, features) on the firing side of the line, else 0."""
        return (x @ self.w + self.b > 0).astype(int)

    def learn(self, x: Matrix, y: Labels, max_epochs: int = 100) -> int | None:
        """Goes through the examples (y is 0 or 1) until all are right.

        Returns the epoch in which no mistake was left, or None after max_epochs. If a line separates the classes, the
        number of mistakes is bounded (Novikoff 1962) and it always gets there; if none does, as for XOR, it never can.
        """
        for epoch in range(max_epochs):
            mistakes = 0
            # exercise 1: the perceptron's learning rule
            # One pass over x (batch, features) and y (batch,), an example at a time: each one that is predicted wrong
            # moves self.w (features,) and self.b, a number, before the next one is looked at. One that is right moves
            # nothing. `mistakes` counts the wrong ones of this pass, whichever way they were wrong.
            # hint: for each example predict with the weights as they are now; `predict` takes rows and gives one answer
            # for each, so give it x[i : i + 1]. The error is y[i] minus the prediction: 1, 0 or -1. Then w <- w + error
            # * x[i] and b <- b + error, once for each example.
            for xi, yi in zip(x, y, strict=True):
                error = yi - self.predict(xi[None])[0]
                self.w += error * xi
                self.b += error
                mistakes += int(error != 0)
            # end of exercise 1
            if mistakes == 0:
                return epoch
        return None


class Layer:
    """One step of the network. `forward` keeps what `backward` needs; `backward` turns ∂C/∂output into ∂C/∂input."""

    n_params = 0

    def forward(self, x: Inputs, train: bool = False) -> Outputs:
        raise NotImplementedError

    def backward(self, dout: Outputs) -> Inputs:
        raise NotImplementedError


class Linear(Layer):
    """z = x @ W + b, with W (fan_in, fan_out) and b (fan_out,)."""

    def __init__(self, fan_in: int, fan_out: int) -> None:
        self.fan_in, self.fan_out = fan_in, fan_out
        self.n_params = fan_in * fan_out + fan_out

    def bind(self, params: np.ndarray, grads: np.ndarray) -> None:
        """Makes W, b, dW, db windows into the network's two long vectors, where the optimiser works."""
        n = self.fan_in * self.fan_out
        self.W, self.b = params[:n].reshape(self.fan_in, self.fan_out), params[n:]
        self.dW, self.db = grads[:n].reshape(self.fan_in, self.fan_out), grads[n:]

    def forward(self, x: Inputs, train: bool = False) -> Outputs:
        # exercise 2: a linear layer, forward
        # x (batch, fan_in) -> z (batch, fan_out), from self.W (fan_in, fan_out) and self.b (fan_out,). self.x keeps x:
        # the way back needs it.
        # hint: z = x W + b, where @ is the matrix product, and b is added to every row by itself.
        self.x = x
        return x @ self.W + self.b
        # end of exercise 2

    def gradients(self, dz: Outputs) -> None:
        """Fills dW (fan_in, fan_out) and db (fan_out,), both summed over the batch, from dz (batch, fan_out)."""
        # exercise 2: a linear layer, the gradients of its parameters
        # dz (batch, fan_out) and self.x (batch, fan_in) -> self.dW (fan_in, fan_out) and self.db (fan_out,), filled in
        # place: the optimiser looks at the same memory. What stood there before is forgotten.
        # hint: an input shares the blame of each output that it reached, so dW = x^T dz (BP4): the product sums over
        # the batch. A bias reaches one output in every example: db is the sum of dz over the batch, axis 0 (BP3).
        # Nothing is divided by the batch size here, as the loss has done that. Write into self.dW[:] and self.db[:].
        self.db[:] = dz.sum(axis=0)  # BP3
        self.dW[:] = self.x.T @ dz  # BP4
        # end of exercise 2

    def backward(self, dz: Outputs) -> Inputs:
        """Fills dW and db, and returns dx (batch, fan_in) for the layer below."""
        self.gradients(dz)
        # exercise 2: a linear layer, the gradient for the layer below
        # dz (batch, fan_out) -> dx (batch, fan_in), the gradient for the layer below, from self.W (fan_in, fan_out).
        # hint: an input reached every output, by one weight each, so its blame is the sum of theirs, each times that
        # weight: dx = dz W^T (BP2).
        return dz @ self.W.T  # BP2, first half: how the error flows back through the weights
        # end of exercise 2


class Sigmoid(Layer):
    """σ(z) = 1 / (1 + e^-z), between 0 and 1; its slope σ(1 - σ) is at most 1/4 and next to nothing far from zero."""

    def forward(self, x: Matrix, train: bool = False) -> Matrix:
        # exercise 3: sigmoid and ReLU, the sigmoid forward
        # x (batch, features) -> 1 / (1 + e^-x), of the same shape and dtype, which self.a keeps for the way back. From
        # x = -1000 to 1000 nothing overflows, not even in a branch that is thrown away.
        # hint: e^1000 is too large for a float, so exponentiate no large positive number, whatever the sign of x. With
        # tanh there is no branch: sigmoid(x) = tanh(x / 2) / 2 + 1 / 2, and np.tanh never overflows.
        half = np.asarray(0.5, dtype=x.dtype)
        self.a = half * np.tanh(half * x) + half  # the same function, and tanh never overflows
        return self.a
        # end of exercise 3

    def backward(self, da: Matrix) -> Matrix:
        # exercise 3: sigmoid and ReLU, the sigmoid backward
        # da (batch, features), the gradient of the output -> dz, that of the input, of the same shape.
        # hint: the chain rule, element by element: da times the slope, and the slope follows from the output alone: a
        # (1 - a), where a is self.a. It is not put through the sigmoid again.
        return da * self.a * (1 - self.a)  # BP1 and BP2, the factor σ'(z)
        # end of exercise 3


class Tanh(Layer):
    """tanh(z), between -1 and 1: a sigmoid twice as high around zero."""

    def forward(self, x: Matrix, train: bool = False) -> Matrix:
        self.a = np.tanh(x)
        return self.a

    def backward(self, da: Matrix) -> Matrix:
        return da * (1 - self.a * self.a)


class ReLU(Layer):
    """max(0, z): slope 1 where it is on, so an error passes through undiminished, and 0 where it is off."""

    def forward(self, x: Matrix, train: bool = False) -> Matrix:
        # exercise 3: sigmoid and ReLU, the ReLU forward
        # x (batch, features) -> x where it is positive, else 0: a new array, which self.a keeps for the way back.
        # hint: np.maximum of x and 0.
        self.a = np.maximum(x, 0)
        return self.a
        # end of exercise 3

    def backward(self, da: Matrix) -> Matrix:
        # exercise 3: sigmoid and ReLU, the ReLU backward
        # da (batch, features), the gradient of the output -> dz, that of the input: 0 where the neuron was off, also at
        # exactly 0.
        # hint: the slope is 1 where the output self.a is positive, else 0: multiply da by the mask a > 0. No output is
        # below 0, so a >= 0 would be true everywhere.
        return da * (self.a > 0)
        # end of exercise 3


class Dropout(Layer):
    """In training, silences each neuron with probability p and scales the others by 1 / (1 - p), so that nothing needs
    to change at test time (inverted dropout). No neuron can rely on a particular other one."""

    def __init__(self, p: float, rng: np.random.Generator) -> None:
        self.p, self.rng = p, rng

    def forward(self, x: Matrix, train: bool = False) -> Matrix:
        self.mask = None
        if train and self.p > 0:
            keep = self.rng.random(x.shape, dtype=np.float32) >= self.p
            self.mask = keep * np.asarray(1 / (1 - self.p), dtype=x.dtype)
            x = x * self.mask
        return x

    def backward(self, dx: Matrix) -> Matrix:
        return dx if self.mask is None else dx * self.mask


class SoftmaxCrossEntropy:
    """C = mean over the batch of -log p[label], with p = softmax(logits): how surprised the network is by the truth."""

    def forward(self, logits: Scores, labels: Labels) -> float:
        """The mean loss in nats of logits (batch, classes) for labels (batch,)."""
        # exercise 4: softmax and cross-entropy, the loss
        # logits (batch, classes), labels (batch,) -> the mean of -log p[label] over the batch, a float of Python's.
        # What the way back needs: self.p, the softmax of each row, (batch, classes), and self.labels. Logits of 1000
        # give neither inf nor NaN, whatever the other rows are.
        # hint: p = e^z / (the sum of e^z over the row). Subtract each row's own maximum first: p stays the same and no
        # exponent is positive. A p that has rounded to 0 has no logarithm, so do not take the log of p: log p = z - log
        # of the sum, with the shifted z. Row i's entry is [np.arange(batch), labels]. float(...) of the mean.
        shifted = logits - logits.max(axis=1, keepdims=True)
        exp = np.exp(shifted)
        total = exp.sum(axis=1, keepdims=True)
        self.p, self.labels = exp / total, labels
        log_p = shifted[np.arange(len(labels)), labels] - np.log(total[:, 0])
        return float(-log_p.mean())
        # end of exercise 4

    def backward(self) -> Scores:
        """∂C/∂logits (batch, classes), from what `forward` has kept."""
        # exercise 4: softmax and cross-entropy, the gradient
        # -> the gradient of the mean loss in the logits, (batch, classes), from self.p and self.labels.
        # hint: everything cancels to p minus one-hot(label) (Nielsen, equation 81), and as the loss is a mean over the
        # batch, that is divided by the batch size.
        dlogits = self.p.copy()
        dlogits[np.arange(len(self.labels)), self.labels] -= 1
        dlogits /= len(self.labels)
        return dlogits  # BP1, with ∂C/∂a ⊙ σ'(z) already simplified: no σ' is left to make it small
        # end of exercise 4


class MeanSquaredError:
    """Nielsen's quadratic cost (equation 6): half the squared distance to the one-hot label, batch mean."""

    def forward(self, outputs: Scores, labels: Labels) -> float:
        """The mean loss of outputs (batch, classes) for labels (batch,)."""
        self.error = outputs.copy()
        self.error[np.arange(len(labels)), labels] -= 1
        return float(0.5 * (self.error**2).sum() / len(labels))

    def backward(self) -> Scores:
        """∂C/∂outputs (batch, classes); the sigmoid below still multiplies it by σ'(z): the slow-down."""
        return self.error / len(self.error)  # BP1, the factor ∂C/∂a


ACTIVATIONS = {"relu": ReLU, "sigmoid": Sigmoid, "tanh": Tanh}
LOSSES = {"cross_entropy": SoftmaxCrossEntropy, "mse": MeanSquaredError}
INITS = {  # the standard deviation of a weight, from the number of inputs and outputs of its layer
    "he": lambda fan_in, fan_out: (2 / fan_in) ** 0.5,  # keeps the size of ReLU activations from layer to layer
    "xavier": lambda fan_in, fan_out: (2 / (fan_in + fan_out)) ** 0.5,  # the same for tanh, slope 1 at zero
    # A sigmoid's slope is at most 1/4, so there this is too small: a deep network's gradient fades on its way down.
    "unit": lambda fan_in, fan_out: 1.0,  # Nielsen's chapter 1: sums of many inputs are large, neurons saturate
    "small": lambda fan_in, fan_out: 0.001,  # next to nothing passes through, in either direction
}


class MLP:
    """A multilayer perceptron: Linear, activation, dropout, …, Linear (and a sigmoid where the loss is mse).

    Args:
        sizes: neurons per layer, inputs and outputs included: (784, 256, 10) has one hidden layer. (784, 10) has none
            and is multinomial logistic regression, the baseline.
        activation: relu, sigmoid or tanh, after every hidden layer.
        loss: cross_entropy or mse.
        dropout: the share of hidden neurons silenced in training.
        init: he, xavier, unit or small; see INITS. Biases start at zero.
        rng: what the weights and the dropout masks are drawn from.
        dtype: float32, or float64 to check gradients.

    All parameters live in one long vector `params`, all gradients in `grads`; the layers look at windows of them.
    """

    linear, activations, losses = Linear, ACTIVATIONS, LOSSES  # fast.py puts its own versions in their place

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str = "relu",
        loss: str = "cross_entropy",
        dropout: float = 0.0,
        init: str = "he",
        rng: np.random.Generator | None = None,
        dtype: type[np.floating] = np.float32,
    ) -> None:
        self.sizes = tuple(sizes)
        self.rng = rng or np.random.default_rng(0)
        self.layers: list[Layer] = []
        for fan_in, fan_out in pairwise(sizes):
            if self.layers:
                self.layers.append(self.activations[activation]())
                if dropout > 0:
                    self.layers.append(Dropout(dropout, self.rng))
            self.layers.append(self.linear(fan_in, fan_out))
        if loss == "mse":
            self.layers.append(self.activations["sigmoid"]())
        self.loss = self.losses[loss]()

        self.params = np.zeros(sum(layer.n_params for layer in self.layers), dtype=dtype)
        self.grads = np.zeros_like(self.params)
        start = 0
        for layer in self.layers:
            if isinstance(layer, Linear):
                window = slice(start, start + layer.n_params)
                layer.bind(self.params[window], self.grads[window])
                scale = INITS[init](layer.fan_in, layer.fan_out)
                layer.W[:] = self.rng.normal(0, scale, layer.W.shape)
                start += layer.n_params

    def forward(self, x: Inputs, train: bool = False) -> Outputs:
        """The outputs (batch, classes) for x (batch, features): logits, or sigmoids where the loss is mse."""
        for layer in self.layers:
            x = layer.forward(x, train)
        return x

    def backward(self) -> None:
        """Backpropagation: fills `grads` with the gradient of the loss that was computed last."""
        # exercise 5: backpropagation
        # Nothing comes in and nothing is returned: after it, dW and db of every linear layer in self.layers are those
        # of the loss that self.loss computed last. The first layer is a linear one, and nothing is left to learn below
        # it.
        # hint: start with self.loss.backward(), the gradient of the last layer's output, and hand it down: every
        # layer's backward(), also an activation's, takes the gradient of its output and returns that of its input. For
        # the first layer self.layers[0].gradients(gradient) is enough, and saves a large matrix product.
        gradient = self.loss.backward()
        for layer in reversed(self.layers[1:]):
            gradient = layer.backward(gradient)
        self.layers[0].gradients(gradient)
        # end of exercise 5

    def loss_and_gradient(self, x: Inputs, labels: Labels) -> float:
        """One forward and one backward pass in training mode: returns the loss, leaves its gradient in `grads`."""
        loss = self.loss.forward(self.forward(x, train=True), labels)
        self.backward()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint must hold: the parameters, and where the generator of masks and shifts stands."""
        return {"params": self.params, "rng": self.rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Puts back what `state_dict` returned; ValueError where it is another network's."""
        if len(state["params"]) != len(self.params):
            raise ValueError(f"{len(state['params']):,} parameters, and this network has {len(self.params):,}")
        self.params[:] = state["params"]
        self.rng.bit_generator.state = state["rng"]
