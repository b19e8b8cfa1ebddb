"""What one neuron can learn and what it cannot: AND, OR and XOR. `./course run 1 gates`."""

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # started as a file: python week01_numpy_mlp/gates.py
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __import__("shared.starting")

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from shared import cli
from shared.config import Count, Positive, Seed
from shared.plots import figure
from shared.runs import RUNS
from week01_numpy_mlp import drawing
from week01_numpy_mlp.model import MLP, Perceptron
from week01_numpy_mlp.optim import SGD

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
GATES = {"AND": np.array([0, 0, 0, 1]), "OR": np.array([0, 1, 1, 1]), "XOR": np.array([0, 1, 1, 0])}


@dataclass
class Config:
    """The flags of gates."""

    seed: Seed = 0
    """What the MLP's first weights are drawn from."""
    out: str = str(RUNS / "week01" / "gates")
    """The folder for decision_boundary.png. With other flags the picture's name says which: none is lost."""
    hidden: Count = 4
    """Hidden neurons of the MLP. Two are enough in principle; with two, some seeds get stuck."""
    steps: Count = 500
    """Steps of the MLP, all four examples in each."""
    lr: Positive = 0.5
    """The size of a step."""


def cycle(x: np.ndarray, y: np.ndarray, limit: int = 1000) -> int | None:
    """After how many epochs the perceptron's weights come back to where they have been before.

    None if it converges, or if they have not come back within `limit` epochs.

    With 0/1 inputs the weights stay whole numbers, and each epoch depends on nothing but the weights it starts with. So
    once they repeat with a mistake in between, they repeat for ever: a proof, by running it, that it never gets there.
    """
    perceptron, seen = Perceptron(x.shape[1]), set()
    for epoch in range(limit):
        weights = (*perceptron.w, perceptron.b)
        if weights in seen:
            return epoch
        seen.add(weights)
        if perceptron.learn(x, y, max_epochs=1) is not None:
            return None
    return None


def learn_xor(seed: int, hidden: int = 4, steps: int = 500, lr: float = 0.5) -> tuple[MLP, list[float]]:
    """An MLP 2 - hidden - 2 (tanh) trained on the four examples. Returns it and its loss at every step."""
    model = MLP((2, hidden, 2), "tanh", init="xavier", rng=np.random.default_rng(seed), dtype=np.float64)
    optimizer = SGD(model.params, momentum=0.9)
    losses = []
    for _ in range(steps):
        losses.append(model.loss_and_gradient(INPUTS, GATES["XOR"]))
        optimizer.step(model.grads, lr)
    return model, losses


def picture_name(cfg: Config) -> str:
    """decision_boundary.png is what a report shows, so a trial with other flags does not take its place."""
    ours, theirs = asdict(Config()), asdict(cfg)
    changed = [f"_{name}_{theirs[name]:g}" for name in ("hidden", "seed", "steps", "lr") if theirs[name] != ours[name]]
    return f"decision_boundary{''.join(changed)}.png"


def main(cfg: Config) -> dict[str, Any]:
    """Trains a perceptron on AND, OR and XOR and an MLP on XOR, and draws where each says 1."""
    perceptrons, result = {}, {}
    for gate, y in GATES.items():
        perceptrons[gate] = Perceptron(2)
        epochs = perceptrons[gate].learn(INPUTS, y)
        result[gate] = epochs
        if epochs is None:
            print(f"perceptron  {gate:4s} never: after {cycle(INPUTS, y)} epochs its weights are where they once were")
        else:
            line = f"w = {perceptrons[gate].w}, b = {perceptrons[gate].b:g}"
            print(f"perceptron  {gate:4s} learned in {epochs} epochs, {line}")
    model, losses = learn_xor(cfg.seed, cfg.hidden, cfg.steps, cfg.lr)
    preds = model.forward(INPUTS).argmax(axis=1)
    result["MLP"] = bool((preds == GATES["XOR"]).all())
    print(f"MLP         XOR  {'learned' if result['MLP'] else 'not learned'}, loss {losses[0]:.3f} → {losses[-1]:.6f}")

    def mlp_says(points: np.ndarray) -> np.ndarray:
        logits = model.forward(points)
        exp = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exp[:, 1] / exp.sum(axis=1)

    path = Path(cfg.out) / picture_name(cfg)
    with figure(path, columns=4, size=(10.0, 2.9)) as (_, axes):
        for axis, (gate, perceptron) in zip(axes[:3], perceptrons.items(), strict=True):
            title = f"Perceptron: {gate}" + ("" if result[gate] is not None else ", never")
            drawing.boundary(axis, perceptron.predict, INPUTS, GATES[gate], title)
        title = "MLP: XOR" + ("" if result["MLP"] else ", not learned")
        drawing.boundary(axes[3], mlp_says, INPUTS, GATES["XOR"], title)
    print(f"picture: {path}")
    return result


if __name__ == "__main__":
    cli.launch(main, Config)
