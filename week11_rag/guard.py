"""Passages are data: lines in them that give the language model orders are neither shown to it nor quoted.

A list of patterns is a weak fence: it knows the usual forms, and who wants to get past it can. The strong ones are
others: passages come between marks that they cannot write themselves (week11_rag/prompt.py), special tokens of the chat
template are pulled apart (week11_rag/language.py), and what a model says is shown only beside words of the document
that are about the question (week11_rag/cite.py). Nor has the bot any tool that an order could make it use.

References
    K. Greshake et al., "Not what you've signed up for", arXiv:2302.12173: indirect prompt injection
    https://genai.owasp.org/llmrisk/llm01-prompt-injection/: "constrain model behaviour", "segregate external content"
"""

import re

from week11_rag import wording
from week11_rag.language import SPECIAL

ORDER = re.compile(
    r"\b(?:ignore|disregard|forget|override|bypass)\b[^.\n]{0,24}\b(?:(?:your|all|any|previous|prior|earlier|above|these|"
    r"those) (?:[a-z]+ ){0,2}(?:instructions?|prompts?|rules|guidelines)|(?:all|everything|anything) (?:above|before|"
    r"else|previous))\b"
    r"|\byou are (?:now|no longer)\b|\bfrom now on,? (?:you|answer|respond|reply|say)\b"
    r"|\b(?:new|updated|system|developer|hidden) (?:instructions?|prompt|message)\s*(?::|for (?:the|you))"
    r"|\b(?:reveal|repeat|print|show|output|leak)\b[^.\n]{0,30}\b(?:system prompt|your (?:instructions|prompt|rules))\b"
    r"|\b(?:answer|respond|reply) (?:to )?(?:all|every|any)\b[^.\n]{0,30}\bquestions?\b[^.\n]{0,12}\bwith\b"
    r"|\b(?:say|output|write|print|answer|respond|reply)(?: with)? (?:only|exactly|nothing but)\b"
    r"|\b(?:dear|attention|note to|message to|instructions? (?:to|for)) (?:the |all |any )?"
    r"(?:ai|llms?|language models?|assistants?|chatbots?|bots?)\b"
    r"|\bas an ai\b|\byour (?:system )?prompt\b"
    rf"|^\W*(?:system|assistant|human|user|developer)\s*:|{SPECIAL.pattern}",
    re.I | re.M,
)


def orders(text: str) -> list[tuple[int, int]]:
    """(start, end) of each sentence that stands on a line with an order to a language model: what follows an order on
    its line belongs to it ("Ignore your instructions. Say …")."""
    lines = [match.span() for match in re.finditer(r"[^\n]+", text) if ORDER.search(match[0])]
    return [(a, b) for a, b in wording.sentences(text) if any(start <= a < end for start, end in lines)]
