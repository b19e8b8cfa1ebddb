"""From words to a verdict: embedding, a recurrent net or a convolution over them, pooling, two logits.

References
    Y. Kim, "Convolutional neural networks for sentence classification", EMNLP 2014: the convolution
    M. Iyyer et al., "Deep unordered composition rivals syntactic methods for text classification", ACL 2015, section
    3.2: word dropout
    Y. Gal, Z. Ghahramani, "A theoretically grounded application of dropout in recurrent neural networks", NeurIPS 2016
"""

import re
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from week03_lstm.data import PAD, UNK
from week03_lstm.model import Recurrent, TorchRecurrent, pool

POOLS = ("last", "max", "mean")
WIDTHS = (3, 4, 5)

Tokens = Int[Tensor, "batch time"]
Lengths = Int[Tensor, " batch"]
Logits = Float[Tensor, "batch classes"]


@dataclass(frozen=True)
class SentimentConfig:
    """The shape of a classifier: `vocab` words, `embed` numbers a word, `hidden` units a direction."""

    vocab: int
    kind: str = "lstm"
    impl: str = "torch"
    embed: int = 100
    hidden: int = 100
    layers: int = 1
    bidirectional: bool = False
    pool: str = "max"
    dropout: float = 0.0
    embed_dropout: float = 0.0
    word_dropout: float = 0.0
    classes: int = 2


class Words(nn.Module):
    """Token ids to vectors. In training some words become <unk>, and some of the vectors' numbers 0: the same ones in
    every word of a review (Gal and Ghahramani), so that what is hidden in one word is not to be seen in the next."""

    def __init__(self, config: SentimentConfig) -> None:
        super().__init__()
        self.word_dropout = config.word_dropout
        self.table = nn.Embedding(config.vocab, config.embed, padding_idx=PAD)
        with torch.no_grad():  # torch draws them with variance 1: so loud that what is learned is drowned for epochs
            self.table.weight.mul_(0.1)
        self.dropout = nn.Dropout(config.embed_dropout)

    def forward(self, tokens: Tokens) -> Float[Tensor, "batch time embed"]:
        if self.training and self.word_dropout > 0:
            dropped = torch.rand(tokens.shape, device=tokens.device) < self.word_dropout
            tokens = tokens.masked_fill(dropped & (tokens != PAD), UNK)
        vectors = self.table(tokens)  # (B, T, embed)
        return vectors * self.dropout(vectors.new_ones(len(tokens), 1, vectors.shape[2]))


class SentimentClassifier(nn.Module):
    """Words → recurrent layers → pooling over time → dropout → linear."""

    def __init__(self, config: SentimentConfig) -> None:
        super().__init__()
        self.config = config
        self.words = Words(config)
        make = Recurrent if config.impl == "scratch" else TorchRecurrent
        shape = config.hidden, config.layers, config.bidirectional, config.dropout
        self.recurrent = make(config.kind, config.embed, *shape)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear((1 + config.bidirectional) * config.hidden, config.classes)

    def forward(self, tokens: Tokens, lengths: Lengths) -> Logits:
        """Logits (B, classes) of tokens (B, T), padded with 0 beyond their lengths (B,)."""
        outputs = self.recurrent(self.words(tokens), lengths)[0]  # (B, T, D*H)
        return self.head(self.dropout(pool(outputs, lengths, self.config.pool, 1 + self.config.bidirectional)))


class ConvClassifier(nn.Module):
    """Kim's network: filters as wide as 3, 4 and 5 words, each answering with its strongest match in the review.

    Args:
        config: the words, dropouts and classes; and with the other fields the recurrent net that it is compared with.
        channels: filters of each width. Default: as many as make it as large as that net.
    """

    def __init__(self, config: SentimentConfig, channels: int | None = None) -> None:
        super().__init__()
        self.config = config
        self.channels = channels or equal_channels(config)
        self.words = Words(config)
        with torch.no_grad():  # Kim's start: with torch's own, seven times as large, it learns much slower
            self.words.table.weight.uniform_(-0.25, 0.25)[PAD] = 0
        self.filters = nn.ModuleList(nn.Conv1d(config.embed, self.channels, width) for width in WIDTHS)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(len(WIDTHS) * self.channels, config.classes)

    def forward(self, tokens: Tokens, lengths: Lengths) -> Logits:
        """Logits (B, classes) of tokens (B, T), padded with 0 beyond their lengths (B,)."""
        B, T = tokens.shape
        short = max(WIDTHS) - T
        if short > 0:  # narrower than the widest filter
            tokens = torch.cat([tokens, tokens.new_full((B, short), PAD)], dim=1)
        x = self.words(tokens).transpose(1, 2)  # (B, embed, T)
        starts = torch.arange(x.shape[2], device=tokens.device)
        best = []
        for conv in self.filters:
            y = torch.relu(conv(x))  # (B, channels, T - width + 1)
            # A window that lies beyond the end, as a whole or in part, does not count; of a review shorter than the
            # filter the first one does.
            last = (lengths - conv.kernel_size[0]).clamp(min=0)
            over = starts[: y.shape[2]] > last[:, None]  # (B, T - width + 1)
            best.append(y.masked_fill(over[:, None], 0).amax(dim=2))  # 0 is the least that relu can say
        return self.head(self.dropout(torch.cat(best, dim=1)))


def equal_channels(config: SentimentConfig) -> int:
    """Channels for which a ConvClassifier has as many parameters as the recurrent net of the same config, or nearly."""
    with torch.device("meta"):  # shapes without memory
        wanted = body_params(SentimentClassifier(config))
    fixed = config.classes  # the bias of the output
    per_channel = sum(width * config.embed + 1 + config.classes for width in WIDTHS)
    return max(1, round((wanted - fixed) / per_channel))


def body_params(model: nn.Module) -> int:
    """How many parameters a classifier has beside its embedding, which is the same for all of them."""
    return sum(p.numel() for name, p in model.named_parameters() if not name.startswith("words."))


def build(config: SentimentConfig) -> SentimentClassifier | ConvClassifier:
    """The classifier of a config; kind cnn is the convolution, as large as an LSTM of the other fields would be."""
    if config.kind == "cnn":
        return ConvClassifier(config, equal_channels(replace(config, kind="lstm")))
    return SentimentClassifier(config)


def scratch(model: SentimentClassifier) -> SentimentClassifier:
    """The same classifier with the same weights over model.py's own layers, whose gates can be looked at."""

    def renamed(name: str) -> str:  # recurrent.layers.0.1.weight_ih_l0 -> recurrent.weight_ih_l0_reverse
        pattern = r"(recurrent\.)layers\.(\d+)\.(\d)\.(\w+)_l0"
        return re.sub(pattern, lambda m: f"{m[1]}{m[4]}_l{m[2]}{'_reverse' * int(m[3])}", name)

    twin = SentimentClassifier(replace(model.config, impl="scratch"))
    twin.load_state_dict({renamed(name): tensor for name, tensor in model.state_dict().items()})
    return twin.to(model.head.weight.device)
