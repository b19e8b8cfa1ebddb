"""Writes synthetic_instructions.jsonl.gz, week 9's instructions: small exact tasks whose answers a program can check.

Nothing here is of anybody's data: the wordings, the words and the rules stand below. A row has Alpaca's columns,
`instruction`, `input` and `output`, and beside them its `family` and its `split`.

A family is one kind of task (a list with dashes, a number, one word, JSON, …). Each has twelve wordings, of which train
gets eight, val two and test two, so that whoever is tested has not read the sentence before; what is listed, counted
and looked up is drawn anew for every row (seed 0), and no input is there twice in a family. Two families are in test
alone: they ask whether following instructions was learned, or ten formats by heart.

    python -m shared.samples.write_instructions
"""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from shared.files import written_whole

KINDS = {
    "fish": "trout salmon carp pike herring tuna cod eel perch sardine",
    "bird": "sparrow robin owl crow swan heron finch goose pigeon raven",
    "tool": "hammer saw drill wrench chisel pliers spade rake axe file",
    "fruit": "apple pear plum cherry peach lemon melon grape fig mango",
    "tree": "oak birch pine maple willow elm beech cedar ash poplar",
    "metal": "iron copper silver gold zinc tin lead nickel brass steel",
    "colour": "red blue green yellow purple orange brown grey pink white",
    "insect": "ant bee wasp beetle moth fly cricket flea locust gnat",
}
KIND = {word: kind for kind, words in KINDS.items() for word in words.split()}
THINGS = [
    "lamp",
    "rope",
    "map",
    "coat",
    "tent",
    "cup",
    "knife",
    "book",
    "pen",
    "key",
    "bag",
    "clock",
    "chair",
    "shirt",
    "brush",
    "plate",
    "box",
    "wheel",
    "bell",
    "coin",
    "drum",
    "flag",
    "glove",
    "hat",
    "jar",
    "kite",
    "ladder",
    "mirror",
    "needle",
    "pillow",
    "ring",
    "scarf",
    "table",
    "umbrella",
    "vase",
    "whistle",
    "basket",
    "blanket",
    "candle",
    "comb",
]
NAMES = [
    "Anna",
    "Ben",
    "Clara",
    "David",
    "Emma",
    "Felix",
    "Grace",
    "Henry",
    "Ivy",
    "Jonas",
    "Karin",
    "Leo",
    "Maria",
    "Noah",
    "Olga",
    "Paul",
    "Rosa",
    "Simon",
    "Tara",
    "Victor",
    "Wanda",
    "Yusuf",
    "Zoe",
    "Amir",
    "Bruno",
    "Chen",
    "Dora",
    "Elif",
    "Farid",
    "Greta",
]
CITIES = [
    "Rome",
    "Oslo",
    "Lima",
    "Cairo",
    "Paris",
    "Delhi",
    "Tokyo",
    "Quito",
    "Berlin",
    "Madrid",
    "Dublin",
    "Vienna",
    "Prague",
    "Athens",
    "Lisbon",
    "Nairobi",
    "Havana",
    "Seoul",
    "Boston",
    "Geneva",
]
PHRASES = [
    "the bridge is closed today",
    "please wait at the gate",
    "the soup is too hot",
    "we meet after lunch",
    "the lights are still on",
    "bring your own cup",
    "the road ends here",
    "all seats are taken",
    "the door opens at nine",
    "keep the window shut",
    "the train leaves from here",
    "do not feed the ducks",
    "the shop sells old maps",
    "fresh bread every morning",
    "the last bus has gone",
    "this box is empty",
    "the river is very low",
    "leave your shoes outside",
    "the paint is not dry",
    "the cat sleeps all day",
    "no swimming after dark",
    "take the second street",
    "it rained the whole night",
    "the garden needs water",
    "she sings in the kitchen",
    "they moved to the coast",
    "my bicycle is broken",
    "our team won again",
]
BEGINNINGS = (
    "For the trip we need {}.", "On the shelf there are {}.", "She bought {}.", "The box holds {}.", "He forgot {}.",
    "In the cellar we found {}.", "They sell {}.", "Please bring {}.",
)  # fmt: skip

Row = tuple[str, str]
"""An input and its answer."""
Draw = np.random.Generator


def some(draw: Draw, words: list[str], count: int) -> list[str]:
    return [words[place] for place in draw.permutation(len(words))[:count]]


def several(draw: Draw, least: int = 3, most: int = 5) -> tuple[str, list[str]]:
    """A sentence that names several things, and these."""
    things = some(draw, THINGS, int(draw.integers(least, most + 1)))
    named = [f"{'an' if thing[0] in 'aeiou' else 'a'} {thing}" for thing in things]
    listed = f"{', '.join(named[:-1])} and {named[-1]}"
    return BEGINNINGS[draw.integers(len(BEGINNINGS))].format(listed), things


def person(draw: Draw) -> tuple[str, dict[str, str | int]]:
    """A sentence on a person, and what it says."""
    about = {"name": NAMES[draw.integers(30)], "age": int(draw.integers(18, 80)), "city": CITIES[draw.integers(20)]}
    says = ("{name} is {age} years old and lives in {city}.", "{name} from {city} is {age} years old.",
            "At {age}, {name} moved to {city}.", "{name}, {age}, works in {city}.")  # fmt: skip
    return says[draw.integers(4)].format(**about), about


def bullets(draw: Draw) -> Row:
    text, things = several(draw)
    return text, "\n".join(f"- {thing}" for thing in things)


def numbered(draw: Draw) -> Row:
    text, things = several(draw)
    return text, "\n".join(f"{number}. {thing}" for number, thing in enumerate(things, 1))


def semicolons(draw: Draw) -> Row:
    text, things = several(draw)
    return text, "; ".join(things)


def count(draw: Draw) -> Row:
    text, things = several(draw, 2, 7)
    return text, str(len(things))


def last(draw: Draw) -> Row:
    text, things = several(draw)
    return text, things[-1]


def first(draw: Draw) -> Row:
    text, things = several(draw)
    return text, things[0]


def yes_no(draw: Draw) -> Row:
    text, things = several(draw)
    other = some(draw, [thing for thing in THINGS if thing not in things], 1)[0]
    there = bool(draw.integers(2))
    return f"{text} Thing: {things[draw.integers(len(things))] if there else other}", "yes" if there else "no"


def upper(draw: Draw) -> Row:
    phrase = PHRASES[draw.integers(len(PHRASES))].split()
    begin = int(draw.integers(len(phrase) - 1))
    words = phrase[begin : begin + int(draw.integers(2, 5))]
    text = " ".join([*words, *some(draw, THINGS, 1)])
    return text, text.upper()


def quotes(draw: Draw) -> Row:
    text = f"{PHRASES[draw.integers(len(PHRASES))]}, said {NAMES[draw.integers(30)]}"
    return text, f'"{text}"'


def as_json(draw: Draw) -> Row:
    text, about = person(draw)
    return text, json.dumps(about)


def one_word(draw: Draw) -> Row:
    word = [*KIND][draw.integers(len(KIND))]
    kinds = [KIND[word], *some(draw, [kind for kind in KINDS if kind != KIND[word]], 2)]
    a, b, c = some(draw, kinds, 3)
    return f"Word: {word}. Kinds: {a}, {b}, {c}.", KIND[word]


def lookup(draw: Draw) -> Row:
    """A question on one of two people, or on a third of whom nothing is said."""
    (one, about), (two, other) = person(draw), person(draw)
    while other["name"] == about["name"]:
        two, other = person(draw)
    asked = (about, other)[draw.integers(2)]
    if draw.integers(4) == 0:
        stranger = some(draw, [name for name in NAMES if name not in (about["name"], other["name"])], 1)[0]
        return f"{one} {two} Question: in which city is {stranger}?", "unknown"
    return f"{one} {two} Question: in which city is {asked['name']}?", str(asked["city"])


WORDINGS: dict[str, tuple[Callable[[Draw], Row], str]] = {
    "bullets": (bullets, """
List the things that are named, one on each line, each behind a dash.
Write the things in this sentence as a list with dashes and nothing else.
Make a dashed list of the objects. No other text.
Turn the sentence into a list: one thing a line, each line begins with "- ".
Which things occur? Answer as a bullet list with dashes, nouns only.
Pull out the objects and put each on its own line after a dash.
Give me the things named here as bullet points (use -).
Extract every object. Format: a dash, a space, the object; one to a line.
Name all objects in the text below, each on a new line that starts with a dash.
Please rewrite this as a plain list with a dash in front of each thing.
I need the objects from this sentence as a dash list, without articles.
Put what is mentioned into bullets: "- " and then the thing, line by line."""),
    "numbered": (numbered, """
List the things that are named in a numbered list and nothing else.
Number the objects in this sentence: 1., 2., and so on, one a line.
Write a numbered list of the things. No other text.
Which things occur? Answer as a numbered list, nouns only.
Turn the sentence into numbered lines, one thing on each.
Pull out the objects and number them from 1, each on its own line.
Give me the things named here as a list with numbers.
Extract every object. Format: number, full stop, space, object; one to a line.
Name all objects in the text below, each on a new line with its number in front.
Please rewrite this as a plain numbered list of the things.
I need the objects from this sentence numbered, without articles.
Put what is mentioned into numbered lines: "1. " and then the thing."""),
    "count": (count, """
How many things are named? Answer with the number alone.
Count the objects in this sentence. Give a number and nothing else.
Give only the number of things that occur in the text.
How many different objects are there? Reply with digits only.
Tell me, as a single number, how many things the sentence lists.
Count what is listed. Your answer must be one number.
What is the number of things in this sentence? Digits only, please.
Say how many objects are mentioned; write nothing but the number.
The sentence below lists some things. How many? One number, no words.
Please count the objects and answer with just the figure.
Number of things mentioned below? Only the number.
How long is the list in this sentence? Reply with one number."""),
    "last": (last, """
Which thing is named last? Answer with that one word.
Give the last object in this sentence, as one word without an article.
What does the list end with? One word only.
Reply with nothing but the final thing that is mentioned.
Name the thing that comes last. One word.
Look at the things in the sentence and write down the last one only.
Write the last thing of the list, and no other word.
Of the objects named, which one is at the end? A single word, please.
Tell me only the object that stands last below.
The final item of this sentence, in one word?
Answer in one word: what is mentioned last?
Please give just the last of the things, without "a" or "an"."""),
    "yes_no": (yes_no, """
Is the thing among those in the sentence? Answer yes or no, in small letters.
Does the sentence name the thing? Reply with yes or no only.
Say yes if the thing is mentioned in the sentence before it, else no.
Check whether the thing occurs in the sentence. One word: yes or no.
Is it there? Answer only yes or no.
Does the list contain the thing? Write yes or no and nothing else.
Answer with yes or no: is the thing part of the sentence?
Decide if the thing is one of those listed. Reply yes or no.
Look for the thing in the sentence. Found? Only yes or no, please.
Tell me with a single yes or no whether the thing is listed.
Can the thing be found in the sentence? yes/no, one word.
Please answer yes or no, nothing more: is that thing in the list?"""),
    "upper": (upper, """
Write this in capital letters.
Put the text into upper case and change nothing else.
Repeat the words below in capitals.
Convert to upper case. Give the result alone.
Shout it: the same words, all in capital letters.
Rewrite the line with every letter a capital.
Give me these words in upper-case letters only.
Change all small letters to capitals.
The same text in all caps, please, and nothing more.
Turn every letter below into a capital letter.
Please type this again with Caps Lock on.
Upper-case version of the following words:"""),
    "quotes": (quotes, """
Put the whole line in double quotation marks.
Repeat the text between double quotes and change nothing.
Copy the line and wrap it in " and ".
Give the text back in double quotes, with nothing else.
Write the line again inside quotation marks (").
Enclose the following in double quotation marks.
Surround the text with double quotes. Do not add anything.
Quote the line below exactly: double quotes around all of it.
The same line, please, but within double quotation marks.
Set quotation marks at the beginning and the end of this text.
Please return this text quoted, with one " in front and one " behind.
Wrap what follows into double quotes and output only that."""),
    "json": (as_json, """
Give name, age and city as JSON.
Write what is said as a JSON object with the keys name, age, city.
Turn the sentence into JSON: "name", "age" (a number), "city". No other text.
Extract the person's name, age and city. Answer with one JSON object only.
Return a JSON object with name, age and city from the text.
Make JSON of this: keys name, age, city, in this order.
Answer in JSON with the fields name, age and city, on one line.
Read the sentence and output {"name": ..., "age": ..., "city": ...} filled in.
As JSON, please: who is it (name), how old (age), and where (city)?
Please convert the information below to a JSON object (name, age, city).
Parse this into one line of JSON with name, age and city.
I need name, age and city from this text in JSON format, nothing else."""),
    "one_word": (one_word, """
Of which of the kinds is the word? Answer with the kind alone.
Choose the kind that fits the word. One word only.
Sort the word into one of the kinds and reply with that kind.
Which kind does it belong to? Give one of the three, nothing else.
Classify the word. Your answer must be one of the kinds.
What is it? Pick one of the kinds, in one word.
Tell me the right kind for this word, as a single word.
Say which of the listed kinds the word names. One word, no sentence.
Label the word with one of the kinds given. Only the label, please.
From the kinds given, write the one that the word is.
One word, please: which of these kinds is it?
Assign a kind from the list to the word and output only the kind."""),
    "lookup": (lookup, """
Answer the question in one word. If the text does not say, answer unknown.
Use the text alone: reply with the city, or with unknown.
Read the text and answer with one word; write unknown where it says nothing on it.
Give the city that is asked for. Is it not in the text, write unknown.
Reply with a single word. When the text has no answer, that word is unknown.
What does the text say? One word, or unknown.
Find the answer in the text. Just the city, or unknown if it is missing.
Answer from the text only, in one word; otherwise say unknown.
Only one word: the city from the text, or unknown if nobody says.
Please look it up in the text. If it is not there, reply unknown.
Take the answer out of the text (one word). No answer in it? Then unknown.
In one word, what is the city? Say unknown when the text does not tell."""),
    "semicolons": (semicolons, """
Write the things that are named on one line, with "; " between them, without articles.
List the objects, separated by semicolons, and nothing else."""),
    "first": (first, """
Which thing is named first? Answer with that one word.
Give the first object in this sentence, as one word without an article."""),
}  # fmt: skip
TEST_ALONE = ("semicolons", "first")
COUNTS = {"train": 120, "val": 12, "test": 24}  # rows of a family


def wordings(family: str) -> dict[str, list[str]]:
    """Which wordings of a family each split has."""
    lines = WORDINGS[family][1].strip().splitlines()
    if family in TEST_ALONE:
        return {"train": [], "val": [], "test": lines}
    return {"train": lines[:8], "val": lines[8:10], "test": lines[10:]}


def rows() -> list[dict[str, str]]:
    """All rows, split by split, the families mixed."""
    draw, seen, found = np.random.default_rng(0), set(), []
    for split, many in COUNTS.items():
        part = []
        for family, (make, _) in WORDINGS.items():
            said, number = wordings(family)[split], 0
            while said and number < many:
                text, answer = make(draw)
                if (family, text) in seen:
                    continue
                seen.add((family, text))
                part.append({"instruction": said[number % len(said)], "input": text, "output": answer,
                             "family": family, "split": split})  # fmt: skip
                number += 1
        found += [part[place] for place in draw.permutation(len(part))]
    return found


if __name__ == "__main__":
    made = rows()
    text = "".join(json.dumps(row) + "\n" for row in made)
    with written_whole(Path(__file__).parent / "synthetic_instructions.jsonl.gz") as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))  # no date: same rows, same bytes
    print(Counter(row["split"] for row in made), len({row["family"] for row in made}), "families")
