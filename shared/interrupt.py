"""Ctrl-C that waits for the end of the step, so that what is saved is a state the training really was in."""

import signal
import threading
from types import FrameType


class StopRequest:
    """`with StopRequest() as stop:` … `if stop: save and leave`. A second Ctrl-C interrupts at once, as usual.

    SIGTERM (what a job scheduler sends before it takes the machine away) counts as a Ctrl-C. Outside the main thread,
    where Python delivers no signals, it never becomes true.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: dict[signal.Signals, object] = {}

    def __bool__(self) -> bool:
        return self.requested

    def __enter__(self) -> "StopRequest":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
