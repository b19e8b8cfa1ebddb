"""MiniLM, a small encoder of sentences that comes in a package: a text becomes 384 numbers.

References
    N. Reimers, I. Gurevych, "Sentence-BERT", arXiv:1908.10084, section 3: a text's vector is the mean over its tokens
    W. Wang et al., "MiniLM", arXiv:2002.10957: a large encoder's attention, taught to a small one
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from shared import models
from shared.chat_models import quiet

TEXT_DIM = 384
LONGEST = 128  # tokens of a text that are read


class Reader:
    """MiniLM on a device, as it is: nothing of it is trained."""

    def __init__(self, device: str = "cpu", batch: int = 64) -> None:
        from tokenizers import Tokenizer
        from transformers import AutoModel

        folder = models.fetch("minilm")
        with quiet():
            self.network = AutoModel.from_pretrained(folder, local_files_only=True, add_pooling_layer=False)
        self.network.to(device).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(LONGEST)
        self.tokenizer.enable_padding()
        self.device, self.batch = device, batch

    @torch.inference_mode()
    def encode(self, texts: Sequence[str]) -> Float[Tensor, "N 384"]:
        """The vectors of texts, in their order, not of unit length; those of about the same length share a batch."""
        found = torch.zeros(len(texts), TEXT_DIM)
        order = sorted(range(len(texts)), key=lambda row: len(texts[row]))
        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            tokens = self.tokenizer.encode_batch([texts[row] for row in rows])
            ids, mask = (torch.tensor([getattr(one, name) for one in tokens], device=self.device)
                         for name in ("ids", "attention_mask"))  # fmt: skip
            hidden = self.network(input_ids=ids, attention_mask=mask).last_hidden_state  # (rows, tokens, 384)
            weight = mask[:, :, None].float()
            found[rows] = ((hidden * weight).sum(1) / weight.sum(1)).cpu()
        return found
