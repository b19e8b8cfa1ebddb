"""Reads a chart, whichever way it is drawn."""

from typing import Any

from week16_capstone import vector
from week16_capstone.chart import Chart, Figure, Unreadable


def read(figure: Figure, reader: Any = None) -> Chart:
    """Reads a chart: from its paths where it has them, else from its pixels.

    Args:
        figure: what was cut out of a page.
        reader: what week16_capstone.trained.load gives; without one, charts that are pixels are not read.

    Raises:
        Unreadable: it is no chart, or none that can be read surely.
    """
    if figure.paths:
        return vector.read(figure)
    if reader is None:
        raise Unreadable("it is a bitmap, and no trained reader was given (`./course train 16` makes one)")
    return reader.read(figure)
