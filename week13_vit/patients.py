"""Whose picture it is: Kermany's names of files tell, so no child is in two parts.

D. Kermany et al., "Identifying medical diagnoses and treatable diseases by image-based deep learning", Cell 172(5),
2018: 5,856 chest X-rays of children, CC BY 4.0. Kaggle serves them as train, val and test, with 16 pictures in val, and
all of it once more in a folder within.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Int

from shared.errors import CourseError
from shared.held_out import fingerprints
from shared.image_folders import folders, root_of
from shared.own_images import Labelled, without_copies

NAMES = re.compile(
    r"(?P<child>person\d+)_(?:virus|bacteria)_\d+"  # person1_bacteria_1.jpeg: one child, several pictures
    r"|(?P<normal>(?:NORMAL2-)?IM-\d+)-\d+(?:-\d+)?"  # IM-0115-0001.jpeg, NORMAL2-IM-1442-0001-0002.jpeg
    r"|(?:BACTERIA|VIRUS|NORMAL)-(?P<number>\d+)-\d+",  # BACTERIA-1008087-0001.jpeg: the authors' own archive
    re.IGNORECASE,
)
TINY_VAL = 50  # pictures: by fewer nothing can be chosen
HELD_OUT = 0.1  # of train's patients, where there is no val (or test) to go by
PARTS = ("train", "val", "test")
Rows = Int[np.ndarray, " _"]


def patient_of(path: Path) -> str:
    """Whose picture it is, after Kermany's naming of files; nothing where the name does not tell."""
    found = NAMES.fullmatch(path.stem)
    return (found["child"] or found["normal"] or found["number"]).lower() if found else ""


def once(folder: Path) -> tuple[Path, str]:
    """Where the pictures lie, and a note: in a folder's folder, where that holds all of its other folders once more."""
    root = root_of(folder)
    names = {path.name for path in folders(root)}
    for inner in folders(root):
        others = names - {inner.name}
        if len(others) > 1 and others == {path.name for path in folders(inner)}:
            return inner, f"its folders are there twice: those in {inner.relative_to(folder)} were read"
    return folder, ""


def told_by(paths: Sequence[Path]) -> bool:
    """Whether the names of (nearly all) files tell the patient."""
    return sum(bool(patient_of(path)) for path in paths) > 0.9 * len(paths)


def in_three(folder: Path, own: Labelled, paths: Sequence[Path]) -> tuple[Labelled, list[Rows], Int[np.ndarray, " n"]]:
    """Pictures cut so that no patient is in two parts, copies dropped by the bytes of their pixels.

    The published test folder stays what it is. A val folder of a few pictures is put back into train, and a tenth of
    train's patients is held out in its place.

    Returns:
        The pictures that stay; the row numbers of train, val and test among them; of each picture the patient.

    Raises:
        CourseError: there are too few patients.
    """
    own, paths = _without_copies(own, paths)
    split = np.zeros(len(own.labels), np.int64) if own.split is None else own.split.copy()
    notes = list(own.notes)
    # Numbers begin anew in the test folder: its children are others, says the paper, though both have a person1.
    keys = [f"{part == 2}/{patient_of(path) or path.stem}" for part, path in zip(split, paths, strict=True)]
    patients = np.unique(keys, return_inverse=True)[1].astype(np.int64)
    if 0 < (count := int((split == 1).sum())) < TINY_VAL:
        split[split == 1] = 0
        notes.append(f"the val folder has {count} pictures, by which nothing can be chosen: it went back into train")
    rng = np.random.default_rng(0)
    for part in (1, 2):
        if not (split == part).any():
            split[_drawn(own.labels, patients, split == 0, rng)] = part
            notes.append(f"{PARTS[part]} is a tenth of train's patients")
    rows = [rng.permutation(np.flatnonzero(split == part)) for part in range(3)]
    for name, part in zip(PARTS, rows, strict=True):
        if not len(part):
            raise CourseError(f"{folder}: too few patients for a train, a val and a test part ({name} is empty).")
    who = [len(np.unique(patients[part])) for part in rows]
    notes.append(f"cut by patients: {who[0]:,} to train on, {who[1]:,} to validate, {who[2]:,} to test; none in two")
    return replace(own, notes=tuple(notes)), rows, patients


def _without_copies(own: Labelled, paths: Sequence[Path]) -> tuple[Labelled, list[Path]]:
    """The pictures without copies, as shared drops them, and their files; a note says how many were in two parts."""
    numbered = replace(own, labels=np.arange(len(own.labels)))
    stays = without_copies(numbered).labels
    gone = np.setdiff1d(numbered.labels, stays)
    if not len(gone):
        return own, list(paths)
    split, across = own.split, 0
    if split is not None:
        prints = fingerprints(own.images)
        across, split = int(np.isin(prints[gone], prints[split == 2]).sum()), split[stays]
    many = f"dropped {len(gone):,} cop{'ies' if len(gone) > 1 else 'y'} of other pictures"
    notes = (*own.notes, f"{many}, {across:,} of them from train to test")
    kept = replace(own, images=own.images[stays], labels=own.labels[stays], split=split, notes=notes)
    return kept, [paths[row] for row in stays]


def _drawn(labels: Rows, patients: Rows, there: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Which pictures are those of a tenth of the patients that are `there`, of every class."""
    taken = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        who = np.unique(patients[(labels == label) & there])
        drawn = rng.permutation(who)[: max(1, round(HELD_OUT * len(who)))] if len(who) > 2 else []
        taken |= np.isin(patients, drawn) & there
    return taken
