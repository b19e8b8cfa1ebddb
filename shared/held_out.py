"""What a network may be scored on: examples that it has neither been trained nor chosen on, by their content.

A folder of one's own grows, a file gets other rows, and its parts are cut anew: neither a name nor a place says what a
network has seen. So a run keeps a fingerprint of every example (examples.safetensors), and eval asks there.

Data are any object with `train`, `val`, `test` and `everything`, each a part with `examples` (images, or texts as they
are compared), `labels` and `take(rows)`; with `own_test`, whether they bring a test split of their own; and `notes`.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from shared.errors import CourseError

PARTS = ("train", "val", "test")
FILE = "examples.safetensors"
Prints = Int[np.ndarray, " _"]  # a fingerprint of each example


def fingerprints(examples: Iterable[str | np.ndarray]) -> Prints:
    """64 bits of BLAKE2b of each example's text or bytes: two that differ share one once in 10^19 pairs."""
    raw = (one.encode("utf-8", "surrogatepass") if isinstance(one, str) else one.tobytes() for one in examples)
    digests = b"".join(blake2b(one, digest_size=8).digest() for one in raw)
    return np.frombuffer(digests, dtype="<i8").astype(np.int64)


def prints_of(data: Any) -> dict[str, Prints]:
    """The fingerprints of train, val and test, in their order, and one of the labels of each."""
    labels = fingerprints(np.asarray(getattr(data, name).labels, np.int64) for name in PARTS)
    return {name: fingerprints(getattr(data, name).examples) for name in PARTS} | {"labels": labels}


def keep(folder: Path, data: Any) -> None:
    """Writes the fingerprints of what a run is trained, chosen and tested on into its folder."""
    from shared import checkpoint

    checkpoint.save(folder / FILE, prints_of(data))


def kept(folder: Path) -> dict[str, Prints]:
    """What `keep` wrote; CourseError where it did not."""
    from shared import checkpoint

    return checkpoint.load(folder / FILE)


def difference(before: Mapping[str, Prints], now: Mapping[str, Prints]) -> str:
    """What has changed, in words, as `3 new, 1 gone, 2 in another part`; nothing where all is as it was."""
    if all(np.array_equal(before[name], now[name]) for name in before):
        return ""
    old, new = ({one: name for name in PARTS for one in prints[name].tolist()} for prints in (before, now))
    counts = {
        "new": len(new.keys() - old.keys()),
        "gone": len(old.keys() - new.keys()),
        "in another part": sum(old[one] != new[one] for one in new.keys() & old.keys()),
    }
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return told or "other labels, or another order"


def hold_to(folder: Path, name: str, data: Any, cure: str) -> None:
    """CourseError where `data`, called `name`, are no longer what the run in `folder` was begun with."""
    if changed := difference(kept(folder), prints_of(data)):
        raise CourseError(f"--data {name} is not what {folder} was begun with any more ({changed}): {cure}")


@dataclass(frozen=True)
class HeldOut:
    """What a network is scored on.

    Attributes:
        name: what to call it.
        part: the examples and their labels, as the week's data have them.
        own: whether it is the run's own test part, unchanged: then the score belongs into result.json.
        notes: what was left out and why, to be told beside the score.
    """

    name: str
    part: Any
    own: bool
    notes: tuple[str, ...]


def choose(run: Any, name: str, data: Any, things: str = "images", why: str = "") -> HeldOut:
    """What of `data` a trained run may be scored on: its test part where they are what it was trained on. Else their
    own test split, or everything where they have none, without what the network knows.

    Args:
        run: a runs.Trained.
        name: what --data says.
        data: what was loaded by that name.
        things: what the examples are called.
        why: what a person may not know, as that the bundled sample is a part of the data set.

    Raises:
        CourseError: nothing is left.
    """
    before, now = kept(run.folder), prints_of(data)
    if not (changed := difference(before, now)):
        return HeldOut(f"{name} (test)", data.test, True, data.notes)
    part, notes = data.test if data.own_test else data.everything, data.notes
    if name == run.config.data:
        notes += (f"these data have changed since the training ({changed})",)
    prints = now["test"] if data.own_test else np.concatenate([now[name] for name in PARTS])
    known = np.isin(prints, np.concatenate([before["train"], before["val"]]))
    because = f" ({why})" if why else ""
    if known.all():
        raise CourseError(
            f"--data {name}: this network was trained or chosen on all of these {len(part):,} {things}, so a score on "
            f"them would say nothing.{because}"
        )
    if known.any():
        notes += (f"left out {known.sum():,} {things} that this network was trained or chosen on{because}",)
        part = part.take(np.flatnonzero(~known))
    return HeldOut(f"{name} (test)" if data.own_test else name, part, False, notes)


def by_name(chosen: HeldOut, named: Sequence[str] | None, known: Sequence[str]) -> HeldOut:
    """The same with its labels in a network's own numbering: classes are matched by name, capitals apart.

    Args:
        chosen: with labels in the order of `named`.
        named: the data's names of classes; None where they have numbers alone, which are taken as they are.
        known: the network's names of classes.

    Raises:
        CourseError: a class that the network does not know.
    """
    labels, notes = chosen.part.labels, chosen.notes
    there = np.unique(labels)
    if named is None:
        if there[-1] >= len(known):
            raise CourseError(f"--data {chosen.name}: label {there[-1]}, but the network knows {len(known)} classes.")
        if list(known) != [str(number) for number in range(len(known))]:
            told = ", ".join(f"{label} for {known[label]}" for label in there[:3])
            notes += (f"its classes have no names: their numbers were taken for the network's ({told}, …)",)
        return replace(chosen, notes=notes)
    numbers = {name.strip().casefold(): number for number, name in enumerate(known)}
    numbers |= {name: number for number, name in enumerate(known)}  # as it is spelled comes before all else
    table = np.full(len(named), -1)
    for label in there:
        name = named[label] if named[label] in numbers else named[label].strip().casefold()
        if name not in numbers:
            near = get_close_matches(name, numbers, 1)
            meant = f" (did you mean {known[numbers[near[0]]]}?)" if near else ""
            listed = ", ".join(known[:20]) + ", …" * (len(known) > 20)
            raise CourseError(f"--data {chosen.name}: class {named[label]!r}{meant}, but the network knows: {listed}.")
        table[label] = numbers[name]
    if len(there) < len(known):
        notes += (f"only {len(there)} of the network's {len(known)} classes occur: the score is of these alone",)
    return replace(chosen, part=replace(chosen.part, labels=table[labels].astype(labels.dtype)), notes=notes)
