"""Recurrent networks from their equations, to be read from top to bottom: three cells, the layers, the pooling.

References
    J. Elman, "Finding structure in time", Cognitive Science 14, 1990: the plain RNN
    S. Hochreiter, J. Schmidhuber, "Long short-term memory", Neural Computation 9, 1997
    F. Gers, J. Schmidhuber, F. Cummins, "Learning to forget", Neural Computation 12, 2000: the LSTM's forget gate
    K. Cho et al., "Learning phrase representations using RNN encoder-decoder", EMNLP 2014: the GRU
    M. Schuster, K. Paliwal, "Bidirectional recurrent neural networks", IEEE Trans. Signal Processing 45, 1997

Every cell does the same: from the input x of this time step and its own state h of the step before, it makes the new
state. The names, shapes and the order of the gates inside the matrices are those of torch.nn, so that weights can be
copied either way; so are the two biases, where one would do. σ is the sigmoid, ⊙ multiplies element by element:

    RNN    h' = tanh(W_ih x + b_ih + W_hh h + b_hh)

    GRU    r = σ(W_ir x + b_ir + W_hr h + b_hr)             reset: how much of h the candidate n may see
           z = σ(W_iz x + b_iz + W_hz h + b_hz)             update: how much of h stays
           n = tanh(W_in x + b_in + r ⊙ (W_hn h + b_hn))    candidate
           h' = (1 - z) ⊙ n + z ⊙ h

    LSTM   i = σ(W_ii x + b_ii + W_hi h + b_hi)             input: how much of g is written into the cell
           f = σ(W_if x + b_if + W_hf h + b_hf)             forget: how much of the cell stays
           g = tanh(W_ig x + b_ig + W_hg h + b_hg)          what there is to write
           o = σ(W_io x + b_io + W_ho h + b_ho)             output: how much of the cell is shown
           c' = f ⊙ c + i ⊙ g                               a sum, not a product of matrices: the gradient survives it
           h' = o ⊙ tanh(c')
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

Projected = Float[Tensor, "batch gates_times_hidden"]  # W_ih x + b_ih of all gates, side by side
Hidden = Float[Tensor, "batch hidden"]
State = tuple[Hidden, ...]  # (h,), and (h, c) in the LSTM
Inputs = Float[Tensor, "batch time features"]
Outputs = Float[Tensor, "batch time directions_times_hidden"]
States = Float[Tensor, "layers_times_directions batch hidden"]
Lengths = Int[Tensor, " batch"]
Real = Bool[Tensor, "batch time"]  # False on padding


class Cell(nn.Module):
    """One step in time, with weight_ih (G*H, I), weight_hh (G*H, H), bias_ih and bias_hh (G*H,) for G gates."""

    gate_names: tuple[str, ...] = ()  # in the order of their rows in the matrices
    states = 1  # how many tensors the state is made of

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.hidden_size = hidden_size
        rows = len(self.gate_names) * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size))
        self.bias_ih = nn.Parameter(torch.empty(rows))
        self.bias_hh = nn.Parameter(torch.empty(rows))
        initialise(self, hidden_size)

    @staticmethod
    def step(projected: Projected, state: State, weight_hh: Tensor, bias_hh: Tensor) -> State:
        """The new state, from `projected` = W_ih x + b_ih (batch, G*H) and the old state."""
        raise NotImplementedError

    def forward(self, x: Float[Tensor, "batch features"], state: State | None = None) -> State:
        """The new state, from the input x (batch, I) and the old state: (h,), or (h, c); zeros by default."""
        if state is None:
            state = (x.new_zeros(len(x), self.hidden_size),) * self.states
        return self.step(F.linear(x, self.weight_ih, self.bias_ih), state, self.weight_hh, self.bias_hh)


class RNNCell(Cell):
    """Elman's network: every state goes through the same matrix again, and so does every gradient on its way back."""

    gate_names = ("hidden",)

    @staticmethod
    def step(projected: Projected, state: State, weight_hh: Tensor, bias_hh: Tensor) -> State:
        (h,) = state
        # exercise 1: one step of an RNN
        # projected (batch, H) is W_ih x + b_ih; h (batch, H) is the old state -> the new one, a tuple: (h',).
        # hint: h' = tanh(W_ih x + b_ih + W_hh h + b_hh). A batch stands in rows, where W h is h Wᵀ.
        return (torch.tanh(projected + F.linear(h, weight_hh, bias_hh)),)
        # end of exercise 1


class GRUCell(Cell):
    """The state moves a share 1 - z of the way to a candidate; where z is 1 it stays what it was, however long."""

    gate_names = ("reset", "update", "candidate")

    @staticmethod
    def step(projected: Projected, state: State, weight_hh: Tensor, bias_hh: Tensor) -> State:
        (h,) = state
        # exercise 2: one step of a GRU
        # projected (batch, 3H) is W_ih x + b_ih for r, z and n, in this order, which weight_hh and bias_hh have, too;
        # h (batch, H) is the old state -> the new one, a tuple, (h',), h' (batch, H), as torch.nn.GRUCell makes it.
        # hint: cut both parts, the inputs' and the state's, in three. r and z are sigmoids of the parts' sum. In n, a
        # tanh, r multiplies the state's part alone, after matrix and bias. z = 1 keeps h, z = 0 puts n in its place.
        x_r, x_z, x_n = projected.chunk(3, dim=1)
        h_r, h_z, h_n = F.linear(h, weight_hh, bias_hh).chunk(3, dim=1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * h_n)
        return (n + z * (h - n),)  # (1 - z) n + z h
        # end of exercise 2


class LSTMCell(Cell):
    """A second state, the cell c, that nothing but gates touches; h is what it shows of it."""

    gate_names = ("input", "forget", "candidate", "output")
    states = 2

    @staticmethod
    def gates(projected: Projected, h: Hidden, weight_hh: Tensor, bias_hh: Tensor) -> tuple[Hidden, ...]:
        """i, f, g and o, each (batch, H)."""
        # exercise 3: the gates of an LSTM
        # projected (batch, 4H) is W_ih x + b_ih for i, f, g, o, in this order, which weight_hh and bias_hh have, too;
        # h (batch, H) -> i, f, g and o, each (batch, H).
        # hint: to the inputs' part comes the state's, W_hh h + b_hh; the sum is cut in four. Sigmoids, a tanh for g.
        i, f, g, o = (projected + F.linear(h, weight_hh, bias_hh)).chunk(4, dim=1)
        return torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
        # end of exercise 3

    @staticmethod
    def step(projected: Projected, state: State, weight_hh: Tensor, bias_hh: Tensor) -> State:
        h, c = state
        i, f, g, o = LSTMCell.gates(projected, h, weight_hh, bias_hh)
        # exercise 3: one step of an LSTM
        # i, f, g, o and the old cell c, all (batch, H) -> the new state, the tuple (h', c'), both (batch, H).
        # hint: the new cell is what stays, by f, and what is written, by i. Shown is the new cell's tanh, by o.
        c = f * c + i * g
        return o * torch.tanh(c), c
        # end of exercise 3


PARAMETERS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
CELLS: dict[str, type[Cell]] = {"rnn": RNNCell, "gru": GRUCell, "lstm": LSTMCell}


def initialise(module: nn.Module, hidden_size: int) -> None:
    """Every parameter uniform within ± 1 / sqrt(H), as torch.nn does it: the same seed gives the same weights."""
    for parameter in module.parameters():
        nn.init.uniform_(parameter, -(hidden_size**-0.5), hidden_size**-0.5)


def real_steps(lengths: Lengths, time: int) -> Real:
    """True where a time step belongs to the sequence, False where it is padding."""
    return torch.arange(time, device=lengths.device) < lengths[:, None]


class Recurrent(nn.Module):
    """Layers of cells over time: stacked, in one direction or both, for padded batches. torch.nn.LSTM by hand.

    Args:
        kind: rnn, gru or lstm.
        input_size, hidden_size: I and H, the sizes of an input and of a state.
        num_layers: each further layer reads the outputs of the one below.
        bidirectional: each layer also reads from the end to the beginning, with weights of its own.
        dropout: between the layers, in training.

    Parameters are named and initialised as torch.nn's, so load_state_dict(torch.nn.LSTM(…).state_dict()) copies them.
    """

    def __init__(
        self,
        kind: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.kind, self.cell = kind, CELLS[kind]
        self.hidden_size, self.num_layers, self.dropout = hidden_size, num_layers, dropout
        self.directions = ("", "_reverse") if bidirectional else ("",)
        rows = len(self.cell.gate_names) * hidden_size
        for layer in range(num_layers):
            for suffix in self.directions:
                shapes = (rows, input_size), (rows, hidden_size), (rows,), (rows,)
                for name, shape in zip(PARAMETERS, shapes, strict=True):
                    self.register_parameter(f"{name}_l{layer}{suffix}", nn.Parameter(torch.empty(shape)))
            input_size = len(self.directions) * hidden_size
        initialise(self, hidden_size)

    def weights(self, layer: int, suffix: str) -> list[Tensor]:
        """weight_ih, weight_hh, bias_ih, bias_hh of one layer and direction."""
        return [getattr(self, f"{name}_l{layer}{suffix}") for name in PARAMETERS]

    def forward(
        self, x: Inputs, lengths: Lengths | None = None, state: Sequence[States] | None = None
    ) -> tuple[Tensor, ...]:
        """Reads x (B, T, I). What stands beyond a sequence's length is never read, and its outputs are 0.

        Args:
            x: the inputs, padded at the end.
            lengths: how many steps of each sequence are real, at least 1 (default: all).
            state: what to begin with, as it is returned: (final,), or (final, cell) (default: zeros).

        Returns:
            outputs (B, T, D*H): the states h of the last layer, for D directions; final (layers*D, B, H): each layer's
            state after its last real step, in the order of torch.nn; and of an LSTM its cell, likewise.
            `outputs, *state = layer(x)` fits all three kinds.
        """
        real = None if lengths is None else real_steps(lengths, x.shape[1])
        shortest = x.shape[1] if lengths is None else int(lengths.min())
        if state is None:
            depth = self.num_layers * len(self.directions)
            state = (x.new_zeros(depth, len(x), self.hidden_size),) * self.cell.states
        finals = []
        for layer in range(self.num_layers):
            if layer > 0 and self.dropout > 0:
                x = F.dropout(x, self.dropout, self.training)
            both = []
            for suffix in self.directions:
                start = tuple(part[len(finals)] for part in state)
                outputs, final = self.run(x, real, shortest, start, self.weights(layer, suffix), bool(suffix))
                both.append(outputs)
                finals.append(final)
            x = torch.cat(both, dim=2) if len(both) > 1 else both[0]
        return x, *(torch.stack(part) for part in zip(*finals, strict=True))

    def run(
        self, x: Inputs, real: Real | None, shortest: int, state: State, weights: Sequence[Tensor], reverse: bool
    ) -> tuple[Outputs, State]:
        """One layer in one direction over x (B, T, I), from `state` on. Returns outputs (B, T, H) and the last state.

        `real` (B, T) is False on padding, and all sequences have at least `shortest` real steps.
        """
        weight_ih, weight_hh, bias_ih, bias_hh = weights
        # exercise 4: a layer over time, with a mask
        # x (B, T, I); real (B, T), None without padding; state, a tuple of (B, H) -> outputs (B, T, H), at each step t
        # the h after it, 0 on padding; and the last state, a tuple like `state`. With `reverse` it reads from T-1 down
        # to 0. In its padding a sequence keeps its state, all parts of it. self.cell.step(projected (B, G*H), state,
        # weight_hh, bias_hh) is one step; projected is W_ih x + b_ih.
        # hint: W_ih x does not wait for the state: make it for all steps at once, before the loop, and take it apart
        # once. In the loop each part of the new state is taken where real[:, t] is True, the old one elsewhere; before
        # step `shortest` no mask is needed. h goes to place t of a list, also where t runs down; padding is 0 there.
        # (Slicing [:, t] of all steps would make the way back fill as large a tensor in every step.)
        steps = F.linear(x, weight_ih, bias_ih).unbind(dim=1)
        outputs = [state[0]] * len(steps)
        for t in reversed(range(len(steps))) if reverse else range(len(steps)):
            new = self.cell.step(steps[t], state, weight_hh, bias_hh)
            if real is not None and t >= shortest:
                new = tuple(torch.where(real[:, t, None], a, b) for a, b in zip(new, state, strict=True))
            state = new
            outputs[t] = state[0]
        stacked = torch.stack(outputs, dim=1)  # (B, T, H)
        return stacked if real is None else stacked * real[:, :, None], state
        # end of exercise 4

    def gates(self, x: Inputs) -> dict[str, Float[Tensor, "batch time hidden"]]:
        """What the first layer of an LSTM does at each step of x (B, T, I), reading forwards.

        By name: the gates input, forget, candidate and output, then the cell and hidden, all (B, T, H).
        """
        if self.kind != "lstm":
            raise ValueError(f"gates are shown of an LSTM, this is of kind {self.kind}")
        weight_ih, weight_hh, bias_ih, bias_hh = self.weights(0, "")
        state: State = (x.new_zeros(len(x), self.hidden_size),) * 2
        rows = []
        for projected in F.linear(x, weight_ih, bias_ih).unbind(dim=1):
            gates = LSTMCell.gates(projected, state[0], weight_hh, bias_hh)
            state = LSTMCell.step(projected, state, weight_hh, bias_hh)
            rows.append((*gates, state[1], state[0]))
        names = (*LSTMCell.gate_names, "cell", "hidden")
        return {name: torch.stack(row, dim=1) for name, row in zip(names, zip(*rows, strict=True), strict=True)}


class TorchRecurrent(nn.Module):
    """The same over torch.nn's own RNN, GRU or LSTM, which is faster. It returns (outputs, final), without the cell.

    torch's way to keep padding out, pack_padded_sequence, is several times slower than padding on a CPU (bench.py). Yet
    what comes after a sequence's end cannot change what was read before it. So it reads the padded batch and takes each
    state where the sequence ends. Backwards, each sequence is turned around first, its padding left at the end.
    """

    def __init__(
        self,
        kind: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bidirectional: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.kind, self.dropout = kind, dropout
        make = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[kind]
        self.layers = nn.ModuleList()  # of lists of one or two, a direction each
        for _ in range(num_layers):
            directions = [make(input_size, hidden_size, batch_first=True) for _ in range(1 + bidirectional)]
            self.layers.append(nn.ModuleList(directions))
            input_size = len(directions) * hidden_size

    def forward(self, x: Inputs, lengths: Lengths | None = None) -> tuple[Outputs, States]:
        """Reads x (B, T, I) and returns outputs (B, T, D*H), 0 on padding, and final (layers*D, B, H)."""
        B, T, _ = x.shape
        if lengths is None:
            lengths = torch.full((B,), T, device=x.device)
        real = real_steps(lengths, T)[:, :, None]  # (B, T, 1)
        finals = []
        for number, directions in enumerate(self.layers):
            if number > 0:
                x = F.dropout(x, self.dropout, self.training)
            both = []
            for reverse, layer in enumerate(directions):
                outputs, _ = layer(turned(x, lengths) if reverse else x)  # (B, T, H)
                finals.append(outputs[torch.arange(B, device=x.device), lengths - 1])  # (B, H)
                both.append(turned(outputs, lengths) if reverse else outputs)
            x = torch.cat(both, dim=2) * real  # (B, T, D*H)
        return x, torch.stack(finals)


def turned(x: Float[Tensor, "batch time features"], lengths: Lengths) -> Float[Tensor, "batch time features"]:
    """Each sequence's real part from its end to its beginning; padding stays where it is."""
    T = x.shape[1]
    steps = torch.arange(T, device=x.device)
    source = torch.where(steps < lengths[:, None], lengths[:, None] - 1 - steps, steps)  # (B, T)
    return x.gather(1, source[:, :, None].expand_as(x))


def pool(outputs: Outputs, lengths: Lengths, how: str, directions: int = 1) -> Float[Tensor, "batch features"]:
    """One vector per sequence, (B, D*H), from outputs (B, T, D*H); padding plays no part.

    `last` takes each direction's state after it has read all, `max` and `mean` each unit's largest and mean output.
    """
    B, T, _ = outputs.shape
    # exercise 5: pooling over time
    # outputs (B, T, D*H), with anything on padding -> (B, D*H): for how "last" the outputs after the last step that was
    # read, for "max" and "mean" the largest and the mean over the real steps. With two directions D the second half of
    # the features was read backwards, from the last real step to step 0.
    # hint: what must a step that is not real be, so that it changes nothing? For a maximum -inf, for a sum 0; and a
    # mean is over lengths, not T. "last" is another step in each sequence, so two indices; but what was read backwards
    # has read all at step 0.
    real = real_steps(lengths, T)[:, :, None]  # (B, T, 1)
    if how == "last":
        last = outputs[torch.arange(B, device=outputs.device), lengths - 1]  # (B, D*H)
        if directions == 1:
            return last
        half = outputs.shape[2] // 2
        return torch.cat([last[:, :half], outputs[:, 0, half:]], dim=1)
    if how == "max":
        return outputs.masked_fill(~real, -torch.inf).amax(dim=1)
    return outputs.masked_fill(~real, 0).sum(dim=1) / lengths[:, None]
    # end of exercise 5
