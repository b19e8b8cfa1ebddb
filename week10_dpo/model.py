"""The networks of this week: a policy and the reference that it began as, and a reward model.

Everything takes any causal language model of transformers, with or without peft's adapters.

References
    R. Rafailov et al., "Direct preference optimization", arXiv:2305.18290
    L. Ouyang et al., arXiv:2203.02155, section 3.5: a reward model is a language model with another head
    E. Hu et al., "LoRA", arXiv:2106.09685: adapters, the subject of week 9
"""

import copy
import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from week10_dpo.losses import Answer, Ids, LogProbs, PerRow, sequence_log_probs

Attention = Int[Tensor, "batch time"]  # 1 at what is read, 0 at padding


def with_adapters(
    model: Any, rank: int = 16, alpha: float = 32.0, dropout: float = 0.0, targets: str | tuple[str, ...] = "all-linear"
) -> Any:  # fmt: skip
    """The model with peft's LoRA adapters, which alone learn; they change nothing at first.

    Args:
        model: a causal language model. It is changed in place.
        rank, alpha, dropout: of the adapters; their change is scaled by alpha / rank.
        targets: which layers, by the end of their names. all-linear: all but the output.
    """
    from peft import LoraConfig, get_peft_model

    names = targets if isinstance(targets, str) else list(targets)
    config = LoraConfig(
        r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=names, task_type="CAUSAL_LM"
    )  # fmt: skip
    return get_peft_model(model, config)


def log_probs(model: nn.Module, ids: Ids, attention: Attention, answer: Answer) -> tuple[PerRow, Int[Tensor, " batch"]]:
    """log p(answer | prompt) of each row, and how many tokens its answer has.

    Logits are made only from the place before the first answer on: the output is the widest layer of a small model, and
    nobody asks for what it says of the prompt.

    Args:
        model: a causal language model.
        ids: prompt, answer, padding on the right; the prompt has at least one token.
        attention: 0 at the padding.
        answer: True at the tokens of the answer.
    """
    before = int(answer.any(dim=0).int().argmax()) - 1  # the place that speaks of the first token of any answer
    kept = ids.shape[1] - before
    logits = model(input_ids=ids, attention_mask=attention, logits_to_keep=kept, use_cache=False).logits
    return sequence_log_probs(logits, ids[:, before:], answer[:, before:]), answer.sum(dim=1)


# ---------------------------------------------------------------- the reference


def frozen(model: nn.Module) -> nn.Module:
    """A copy that never learns: the reference of a policy all of whose weights do."""
    return copy.deepcopy(model).eval().requires_grad_(False)


@contextmanager
def reference(model: Any, copy_of: Any = None) -> Iterator[Any]:
    """Inside `with`, the policy as it was before it learned; afterwards all is as before.

    Args:
        model: the policy. If it has adapters, switching them off is enough, and no second model is needed.
        copy_of: the frozen copy, where all weights learn.
    """
    # exercise 3: rewards and margins, the reference
    # The policy, in training or not, and perhaps a frozen copy of it -> yields the model to ask: the copy where there
    # is one, else the policy without its adapters (`with model.disable_adapter():`). While it is asked, copy or policy,
    # no gradients are kept and nothing drops out: the reference gives the same answer each time. Afterwards, also after
    # an error, the policy is in the mode that it was in.
    # hint: four steps: note the mode of what will be asked (.training); .eval(); yield it under torch.no_grad(), and if
    # it is the policy, with its adapters off; at the end .train(the mode it had), in a `finally`.
    asked = model if copy_of is None else copy_of
    training = asked.training
    asked.eval()  # with dropout it would be another reference each time
    try:
        with torch.no_grad():
            if copy_of is None:
                with model.disable_adapter():
                    yield model
            else:
                yield copy_of
    finally:
        asked.train(training)
    # end of exercise 3


def reference_log_probs(model: Any, batches: Any, copy_of: Any = None) -> list[LogProbs]:
    """What the reference says of each batch (ids, attention, answer), to be kept: it never changes; once is enough."""
    with reference(model, copy_of) as asked:
        return [LogProbs.halves(*log_probs(asked, *batch)) for batch in batches]


def fingerprint(model: nn.Module) -> str:
    """A hash of all weights and buffers but the adapters', to show that a reference has not changed."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        if "lora_" not in name:
            digest.update(name.encode())
            digest.update(
                tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes() if tensor.ndim else b""
            )
    return digest.hexdigest()


# ---------------------------------------------------------------- a reward model


class RewardModel(nn.Module):
    """A language model whose output is replaced by one number: how good the answer is that ends here.

    Attributes:
        backbone: the language model without its output; adapters stay in it.
        score: the head. Its weights begin at 1 / sqrt(d_model + 1), as in Stiennon et al., arXiv:2009.01325.
    """

    def __init__(self, language_model: Any) -> None:
        super().__init__()
        whole = language_model.get_base_model() if hasattr(language_model, "get_base_model") else language_model
        self.backbone = whole.base_model
        width = whole.config.hidden_size
        self.score = nn.Linear(width, 1, bias=False, dtype=torch.float32)
        nn.init.normal_(self.score.weight, std=(width + 1) ** -0.5)

    def forward(self, ids: Ids, attention: Attention) -> PerRow:
        """The score of each row, read at its last token: the only one that has seen the whole answer.

        Args:
            ids: prompt and answer, padded on either side.
            attention: 0 at the padding.
        """
        hidden = self.backbone(input_ids=ids, attention_mask=attention, use_cache=False).last_hidden_state
        places = torch.arange(ids.shape[1], device=ids.device)
        last = (attention * places).argmax(dim=1)  # the place of the last token that is read
        rows = torch.arange(len(ids), device=ids.device)
        return self.score(hidden[rows, last].float()).squeeze(-1)  # (batch, d_model) -> (batch,)
