"""What a process that runs beside us has printed."""

from typing import IO

from shared.terminal import printable


class Printed:
    """A process whose output goes to `log`, an open file."""

    log: IO[bytes]

    def output(self) -> str:
        """What it has printed."""
        self.log.seek(0)
        return self.log.read().decode("utf-8", "replace")

    def last_line(self) -> str:
        """The last line that it has printed."""
        lines = [line for line in self.output().splitlines() if line.strip()]
        return printable(lines[-1])[:300] if lines else "it printed nothing"
