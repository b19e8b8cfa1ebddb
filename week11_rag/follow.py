"""Questions that go on from those before: "And when is it allowed?" is made one that can be searched for alone."""

import re
from collections.abc import Callable, Sequence

from week11_rag import prompt, wording

Turn = tuple[str, str]
"""A question of before, and what was answered (its text)."""
TURNS = 3  # of the history, so many are looked at
MOST = 6  # words that are carried along: more would be searched for, and not what is asked now
WHOLE = re.compile(
    r"^\W*(?:(?:what|who) (?:is|are|was|were)\b|what does\b.*\bmean|(?:tell me|talk) about\b|explain\b|define\b)", re.I
)
"""With these a single word of its own is what a question is about."""
REFERS = re.compile(
    r"\b(?:it|its|they|them|their|theirs|these|those|he|she|him|his|her|ones?|former|latter)\b|"
    r"\bthis\b(?!\s+(?:document|handbook|manual|book|pdf|text)\b)|"
    r"\bthat\b(?=\s*[?.!]?$|\s+(?:is|was|be|does|do|did|has|have|can|could|will|would|should|must|may)\b)|"
    r"\b(?:is|was|does|do|did|has|have|can|could|will|would|should|must|may)\s+that\b|"
    r"^\W*(?:and|or|but|so|what about|how about|what if|why|who else|what else|when else|where else)\b",
    re.I,
)
"""What a question leans on the one before with."""
ASK = (
    "Rewrite the last question so that it can be understood without the conversation: put in what its pronouns stand "
    "for. Change nothing else, and do not answer it. Write the question alone, in one line."
)


def carried(question: str, history: Sequence[Turn]) -> str:
    """The question, with the words of the one before in brackets behind it where it leans on that: where it has a
    pronoun, begins with "and", or has no more than one word of its own ("which version?", not "what is sid?"). What was
    refused is not carried: nothing was said about it. It takes no language model."""
    history = [turn for turn in history if turn[1] != prompt.REFUSAL]
    own_words = len(wording.content(question)) > 1 or (wording.content(question) and WHOLE.search(question))
    if not history or (own_words and not REFERS.search(question)):
        return question
    before = carried(history[-1][0], history[:-1])
    own, topic = {wording.stem(word) for word in wording.words(question)}, []
    for word in wording.WORD.findall(before):
        (low, *_) = wording.words(word) or [""]
        if low and low not in wording.STOP and wording.stem(low) not in own:
            own.add(wording.stem(low))
            topic.append(word)
    return f"{question} ({' '.join(topic[:MOST])})" if topic else question


def rewritten(question: str, history: Sequence[Turn], write: Callable[[list[dict[str, str]], int], str]) -> str:
    """The question as a language model rewrites it; as `carried` does where it writes what is no question.

    Args:
        question: the last one.
        history: those before.
        write: (messages, most tokens) -> what the model writes.
    """
    if not history:
        return question
    said = [line for asked, answered in history for line in (f"Question: {asked}", f"Answer: {answered[:500]}")]
    talk = "\n".join([*said, f"Last question: {question}"])
    lines = write([{"role": "system", "content": ASK}, {"role": "user", "content": talk}], 80).strip().splitlines()
    found = re.sub(r"^(?:(?:rewritten|last) )?question:\s*", "", lines[0].strip(" \"'*"), flags=re.I) if lines else ""
    kept = set(wording.content(question)) <= {*wording.content(found)} or "?" in found
    return found if kept and 0 < len(found) <= 4 * len(question) + 200 else carried(question, history)
