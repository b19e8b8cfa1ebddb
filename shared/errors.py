"""The one kind of error that a learner is meant to read: a clear line and exit code 2, never a traceback."""


class CourseError(Exception):
    """Something the person at the keyboard can put right.

    The message is one line: what was wrong, where, and what to do about it. `shared.cli.run` prints it and exits with
    code 2. Anything else that escapes a program is a bug and keeps its traceback.
    """


class Stopped(CourseError):
    """Ctrl-C, answered: the line says where the work stands and how it goes on. No error, but the exit code is 130."""
