"""The one kind of error that a learner is meant to read: a clear line and exit code 2, never a traceback."""


class CourseError(Exception):
    """Something the person at the keyboard can put right.

    The message is one line: what was wrong, where, and what to do about it. `shared.cli.launch` prints it and exits
    with code 2. Anything else that escapes a program is a bug and keeps its traceback.
    """


class Stopped(CourseError):
    """Ctrl-C, answered: the line says where the work stands and how it goes on. No error, but the exit code is 130."""


class Diverged(CourseError):
    """The loss is no longer a number: the steps were too large. `advice` is what the week says to try."""

    def __init__(self, loss: float, step: int, epoch: int, advice: str) -> None:
        super().__init__(f"the loss became {loss} at step {step} (epoch {epoch}): the steps are too large. {advice}")
