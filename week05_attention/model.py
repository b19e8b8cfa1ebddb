"""A recurrent translator that looks back: encoder, attention, decoder, and the search for the best translation.

The equations are those of Bahdanau, Cho and Bengio, "Neural machine translation by jointly learning to align and
translate", arXiv:1409.0473, section 3 and appendix A; dot and general are from Luong, Pham and Manning,
arXiv:1508.04025, section 3.1. Read it from top to bottom: attention, encoder, decoder, loss, search.

B sentences, S source positions, T target positions, H units of a state, V words.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from shared.sentence_pairs import BOS, EOS, PAD


@dataclass(frozen=True)
class Seq2SeqConfig:
    """The shape of a translator.

    Attributes:
        source_words, target_words: sizes of the two vocabularies.
        attention: how the decoder looks back; none: it gets one fixed vector of the whole sentence.
        scaled: whether the scores of dot and general are divided by √hidden.
        embed: numbers a word.
        hidden: units of the decoder's state, and of an annotation: half of them read forwards, half backwards.
        dropout: of word vectors and of what the decoder reads out, in training.
    """

    source_words: int
    target_words: int
    attention: Literal["additive", "dot", "general", "none"] = "additive"
    embed: int = 128
    hidden: int = 256
    dropout: float = 0.3
    scaled: bool = True


# ---------------------------------------------------------------- attention


def masked_softmax(scores: Float[Tensor, "B S"], mask: Bool[Tensor, "B S"]) -> Float[Tensor, "B S"]:
    """Weights that are positive where the mask says True, zero elsewhere, and sum to one in each row (equation 6)."""
    # exercise 2: a softmax over the words that are there
    # scores (B, S), any numbers; mask (B, S), True at a word and False at padding -> weights (B, S): above zero at
    # words, exactly zero at padding, and summing to one in each row. Gradients reach the scores of words alone.
    # hint: where the mask is False, put minus infinity in the place of the score (masked_fill), *before* the softmax
    # over the last axis: e to the minus infinity is 0, and the others share the whole.
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1)
    # end of exercise 2


class AdditiveAttention(nn.Module):
    """score(s, h_j) = v · tanh(W s + U h_j): a network of one hidden layer compares query and key (equation 6)."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.W = nn.Linear(hidden, hidden, bias=False)
        self.U = nn.Linear(hidden, hidden)
        self.v = nn.Linear(hidden, 1, bias=False)

    def keys(self, annotations: Float[Tensor, "B S H"]) -> Float[Tensor, "B S H"]:
        """U h_j of all positions. It does not depend on the decoder: once a sentence is enough."""
        return self.U(annotations)

    def score(self, query: Float[Tensor, "B H"], keys: Float[Tensor, "B S H"]) -> Float[Tensor, "B S"]:
        """How well each position answers the query, by its content."""
        # exercise 1: the additive score
        # query (B, H), the decoder's state s; keys (B, S, H), U h_j of all positions, projected already -> scores
        # (B, S), v · tanh(W s + U h_j): one number for each position, of any size; padding is masked later.
        # hint: self.W(query) is (B, H) and must be added to each of the S keys: give it an axis of one in the middle.
        # tanh of the sum is (B, S, H); self.v makes (B, S, 1) of it; the last axis is to go.
        return self.v(torch.tanh(self.W(query)[:, None] + keys)).squeeze(-1)
        # end of exercise 1


class DotAttention(nn.Module):
    """score(s, h_j) = s · h_j / √H: query and key are compared as they are; nothing is learned here.

    Luong et al. do not divide (`scaled=False`). But a sum of H products is large, and a softmax of large scores
    hardly learns (Vaswani et al. 2017, arXiv:1706.03762, section 3.2.1).
    """

    def __init__(self, hidden: int, scaled: bool = True) -> None:
        super().__init__()
        self.divisor = math.sqrt(hidden) if scaled else 1.0

    def keys(self, annotations: Float[Tensor, "B S H"]) -> Float[Tensor, "B S H"]:
        return annotations

    def score(self, query: Float[Tensor, "B H"], keys: Float[Tensor, "B S H"]) -> Float[Tensor, "B S"]:
        return (keys @ query[:, :, None]).squeeze(-1) / self.divisor


class GeneralAttention(DotAttention):
    """score(s, h_j) = s · W h_j / √H: the keys are turned to where the queries look."""

    def __init__(self, hidden: int, scaled: bool = True) -> None:
        super().__init__(hidden, scaled)
        self.W = nn.Linear(hidden, hidden, bias=False)

    def keys(self, annotations: Float[Tensor, "B S H"]) -> Float[Tensor, "B S H"]:
        return self.W(annotations)


ATTENTION = {"additive": AdditiveAttention, "dot": DotAttention, "general": GeneralAttention}


# ---------------------------------------------------------------- encoder


@dataclass(frozen=True)
class Memory:
    """What the decoder may look at: an annotation of each source word, its key, and which are words.

    Attributes:
        annotations: (B, S, H), the values that contexts are made of; without attention (B, 1, H), the sentence.
        keys: (B, S, H), what queries are compared with; computed once.
        mask: (B, S), True at words.
    """

    annotations: Float[Tensor, "B S H"]
    keys: Float[Tensor, "B S H"]
    mask: Bool[Tensor, "B S"]

    def repeat(self, times: int) -> "Memory":
        """Each sentence `times` in a row, for as many hypotheses."""
        return Memory(*(part.repeat_interleave(times, 0) for part in (self.annotations, self.keys, self.mask)))


def reverse(x: Tensor, lengths: Int[Tensor, " B"]) -> Tensor:
    """x (B, S, …) with the first `lengths` positions of each row turned round; padding stays where it is."""
    places = torch.arange(x.shape[1], device=x.device)[None]
    turned = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)  # (B, S)
    return x.gather(1, turned[..., None].expand(x.shape))


class Encoder(nn.Module):
    """Reads a sentence in both directions: h_j = [forward state at j, backward state at j] (section 3.2).

    Two layers of one direction each, because the backward one must begin at each sentence's own last word. (A layer
    with bidirectional=True begins at the padding; packing the sentences mends it, at four times the time on a CPU.)
    """

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.embedding = nn.Embedding(config.source_words, config.embed, padding_idx=PAD)
        self.forwards = nn.GRU(config.embed, config.hidden // 2, batch_first=True)
        self.backwards = nn.GRU(config.embed, config.hidden // 2, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, source: Int[Tensor, "B S"]) -> tuple[Float[Tensor, "B S H"], Float[Tensor, "B half"]]:
        """Annotations of all words, and the state after reading backwards: at the first word, so of the whole."""
        lengths = (source != PAD).sum(1)
        x = self.dropout(self.embedding(source))  # (B, S, embed)
        ahead, _ = self.forwards(x)
        back = reverse(self.backwards(reverse(x, lengths))[0], lengths)
        return torch.cat([ahead, back], dim=2), back[:, 0]


# ---------------------------------------------------------------- decoder


class Decoder(nn.Module):
    """Writes a word at a time: looks (context c_i), updates its state s_i = GRU(s_{i-1}, [y_{i-1}, c_i]), reads out."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        H, E = config.hidden, config.embed
        self.embedding = nn.Embedding(config.target_words, E, padding_idx=PAD)
        options = {"scaled": config.scaled} if config.attention in ("dot", "general") else {}
        self.attention = ATTENTION[config.attention](H, **options) if config.attention != "none" else None
        self.start = nn.Linear(H // 2, H)
        self.cell = nn.GRUCell(E + H, H)
        self.readout = nn.Linear(H + E + H, 2 * E)
        self.out = nn.Linear(E, config.target_words)
        self.dropout = nn.Dropout(config.dropout)

    def memory(self, annotations: Float[Tensor, "B S H"], source: Int[Tensor, "B S"]) -> Memory:
        """What there is to look at. Without attention: one vector, the last state of either direction."""
        mask = source != PAD
        if self.attention:
            return Memory(annotations, self.attention.keys(annotations), mask)
        half, last = annotations.shape[2] // 2, mask.sum(1) - 1
        rows = torch.arange(len(source), device=source.device)
        whole = torch.cat([annotations[rows, last, :half], annotations[:, 0, half:]], dim=1)[:, None]
        return Memory(whole, whole, torch.ones_like(mask[:, :1]))

    def look(self, state: Float[Tensor, "B H"], memory: Memory) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B S"]]:
        """The context (equation 5) and the weights it is made with (equation 6)."""
        if self.attention is None:
            return memory.annotations[:, 0], memory.mask.to(state.dtype)
        weights = masked_softmax(self.attention.score(state, memory.keys), memory.mask)
        return (weights[:, None] @ memory.annotations).squeeze(1), weights

    def step(
        self, word: Float[Tensor, "B E"], state: Float[Tensor, "B H"], memory: Memory
    ) -> tuple[Float[Tensor, "B H"], Float[Tensor, "B H"], Float[Tensor, "B S"]]:
        """The vector of the last word and the state before it -> the next state, the context, the weights."""
        context, weights = self.look(state, memory)
        return self.cell(torch.cat([word, context], dim=1), state), context, weights

    def logits(self, state: Tensor, word: Tensor, context: Tensor) -> Tensor:
        """Scores of all words from (…, H), (…, E), (…, H): a maxout layer over pairs (appendix A.2.2), then one a word.

        The new state is read; the paper's formula has the old one.
        """
        t = self.readout(torch.cat([state, word, context], dim=-1)).unflatten(-1, (-1, 2)).amax(-1)  # (…, E)
        return self.out(self.dropout(t))


class Seq2Seq(nn.Module):
    """Encoder and decoder in one."""

    def __init__(self, config: Seq2SeqConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = Encoder(config), Decoder(config)

    def read(self, source: Int[Tensor, "B S"]) -> tuple[Memory, Float[Tensor, "B H"]]:
        """What the decoder looks at, and the state it begins with: s_0 = tanh(W_s back_1) (appendix A.2.2)."""
        annotations, back = self.encoder(source)
        return self.decoder.memory(annotations, source), torch.tanh(self.decoder.start(back))

    def forward(
        self, source: Int[Tensor, "B S"], target: Int[Tensor, "B T"], own: float = 0.0
    ) -> tuple[Float[Tensor, "B T V"], Float[Tensor, "B T _S"]]:
        """Logits and attention weights for each word of the target, given those before it (teacher forcing).

        Args:
            source, target: ids, padded at the end; the target ends in </s>, and <s> is put before it here.
            own: the share of the words before that are the model's own choice instead (scheduled sampling, Bengio et
                al. 2015, arXiv:1506.03099), drawn for each word.
        """
        memory, state = self.read(source)
        before = torch.cat([target.new_full((len(target), 1), BOS), target[:, :-1]], dim=1)  # (B, T)
        words = self.decoder.dropout(self.decoder.embedding(before)).unbind(1)  # T of (B, E)
        kept: list[tuple[Tensor, ...]] = []
        for at, word in enumerate(words):
            if own and at:
                guess = self.decoder.logits(*kept[-1][:3]).argmax(1)
                mine = torch.rand(len(guess), device=guess.device) < own
                word = torch.where(mine[:, None], self.decoder.dropout(self.decoder.embedding(guess)), word)
            state, context, weights = self.decoder.step(word, state, memory)
            kept.append((state, word, context, weights))
        state, word, context, weights = (torch.stack(part, dim=1) for part in zip(*kept, strict=True))
        return self.decoder.logits(state, word, context), weights


def translation_loss(logits: Float[Tensor, "B T V"], target: Int[Tensor, "B T"]) -> Float[Tensor, ""]:
    """The mean cross-entropy of a word, in nats."""
    # exercise 3: the loss of the words that are there
    # logits (B, T, V); target (B, T), the right ids, padded with PAD behind </s> -> the mean of -log p over all words
    # of all sentences, </s> among them and padding not: a sentence that is padded more weighs no less.
    # hint: F.cross_entropy wants the classes on axis 1, so flatten B and T into one (flatten(0, 1)); and ignore_index
    # names a class that neither adds to the sum nor to the count.
    return F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=PAD)
    # end of exercise 3


# ---------------------------------------------------------------- search


@dataclass(frozen=True)
class Translations:
    """What was found for B sentences: ids (B, T) padded behind </s>, weights (B, T, S), and log p of each (B,)."""

    ids: Int[Tensor, "B T"]
    weights: Float[Tensor, "B T S"]
    log_probs: Float[Tensor, " B"]


def beam_step(
    totals: Float[Tensor, "B K"], log_probs: Float[Tensor, "B K V"], finished: Bool[Tensor, "B K"]
) -> tuple[Float[Tensor, "B K"], Int[Tensor, "B K"], Int[Tensor, "B K"]]:
    """The K best continuations of K hypotheses, for each of B sentences."""
    # exercise 4: one step of beam search
    # totals (B, K), log p of each hypothesis so far; log_probs (B, K, V), of each next word; finished (B, K), True
    # where </s> has been written -> the totals of the K best continuations, best first; from which hypothesis each
    # comes (its place, 0 to K-1); and its word, all (B, K). What is finished goes on with PAD alone, at no cost.
    # hint: for the finished, make a row of V numbers: 0 at PAD, minus infinity elsewhere, and put it in by
    # torch.where. Add the totals, flatten K and V into one axis, and take topk(K) of it. A place p of that axis is the
    # hypothesis p // V and the word p % V.
    K, V = log_probs.shape[1:]
    rest = torch.full((V,), -math.inf, device=log_probs.device).index_fill(0, torch.tensor(PAD), 0.0)
    log_probs = torch.where(finished[..., None], rest, log_probs)
    best, places = (totals[..., None] + log_probs).flatten(1).topk(K, dim=1)
    return best, places // V, places % V
    # end of exercise 4


@torch.no_grad()
def translate(
    model: Seq2Seq, source: Int[Tensor, "B S"], beam: int = 1, most: int = 30, alpha: float = 0.6
) -> Translations:
    """The best translation that beam search finds; with a beam of 1 the likeliest word each time, which is greedy.

    Args:
        source: ids, padded.
        beam: how many hypotheses are kept.
        most: words at most.
        alpha: of the length penalty ((5 + length) / 6)^alpha that the log-probability is divided by, or short ones
            would win (Wu et al. 2016, arXiv:1609.08144, section 7); 0 compares sums.
    """
    model.eval()
    memory, state = model.read(source)
    memory, state = memory.repeat(beam), state.repeat_interleave(beam, 0)  # (B K, …)
    B, K, device = len(source), beam, source.device
    totals = torch.full((B, K), -math.inf, device=device)
    totals[:, 0] = 0.0  # at first there is but one hypothesis
    finished = torch.zeros(B, K, dtype=torch.bool, device=device)
    ids = torch.full((B, K, 1), BOS, device=device)
    weights = torch.zeros(B, K, 0, source.shape[1], device=device)
    for _ in range(most):
        word = model.decoder.embedding(ids[:, :, -1].flatten())
        state, context, looked = model.decoder.step(word, state, memory)
        log_probs = model.decoder.logits(state, word, context).float().log_softmax(-1)
        totals, parents, words = beam_step(totals, log_probs.unflatten(0, (B, K)), finished)
        rows = (torch.arange(B, device=device)[:, None] * K + parents).flatten()  # where each comes from, of B K
        state = state[rows]
        looked = looked.expand(B * K, source.shape[1])[rows].view(B, K, 1, -1)
        ids = torch.cat([ids.flatten(0, 1)[rows].view(B, K, -1), words[..., None]], dim=2)
        weights = torch.cat([weights.flatten(0, 1)[rows].view(B, K, -1, source.shape[1]), looked], dim=2)
        finished = finished.flatten()[rows].view(B, K) | (words == EOS)
        if finished.all():
            break
    lengths = (ids[:, :, 1:] != PAD).sum(2)
    best = (totals / ((5 + lengths) / 6) ** alpha).argmax(1)
    rows = torch.arange(B, device=device)
    return Translations(ids[rows, best, 1:], weights[rows, best], totals[rows, best])
