"""A command in a box, as a container is one: a root that cannot be written to, a user without rights, processes of its
own, and no network but its own loopback. Linux alone, and root alone may build one.

It is what `docker run --read-only --user 1000 --cap-drop ALL --security-opt no-new-privileges --network none` gives,
made of what every Linux has (util-linux: unshare, mount, setpriv), for machines without a Docker daemon.
"""

import fcntl
import http.client
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shared.errors import CourseError
from shared.printed import Printed

USER = 1000
"""The user of a Space, and of our image."""
SCRIPT = r"""
path=$PATH PATH=/usr/sbin:/usr/bin:/sbin:/bin  # theirs is for the command alone
kind=$1 root=$2 user=$3; shift 3
mount --make-rprivate /
if [ "$kind" = own ]; then mount --bind "$root" "$root"; else mount -t tmpfs -o mode=755 tmpfs "$root"; fi
mkdir -p "$root/proc" "$root/dev"
while [ "$1" != -- ]; do  # KIND SOURCE TARGET: what is to be seen inside, and where
    case $1 in
        tmpfs) mkdir -p "$root$3"; mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$root$3" ;;
        *) if [ -d "$2" ]; then mkdir -p "$root$3"; else mkdir -p "$(dirname "$root$3")"; : >>"$root$3"; fi
           mount --bind "$2" "$root$3"
           [ "$1" = rw ] || mount -o remount,bind,ro "$root$3" ;;
    esac
    shift 3
done
shift
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t tmpfs -o nosuid,mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do : >"$root/dev/$device"; mount --bind "/dev/$device" "$root/dev/$device"; done
mkdir "$root/dev/shm"
mount -t tmpfs -o nosuid,nodev,mode=1777 tmpfs "$root/dev/shm"
mount -o remount,bind,ro "$root"
directory=$1; shift
exec chroot "$root" setpriv --reuid "$user" --regid "$user" --clear-groups --no-new-privs --bounding-set=-all \
    --inh-caps=-all -- env PATH="$path" sh -c 'cd "$0" && exec "$@"' "$directory" "$@"
"""
CLONE_NEWNET = 0x40000000


@dataclass(frozen=True)
class See:
    """What a box sees: a folder or file of this machine (`source`), or, without one, an empty folder in memory."""

    target: str
    source: str = ""
    writable: bool = False

    @property
    def words(self) -> list[str]:
        return ["tmpfs" if not self.source else "rw" if self.writable else "ro", self.source, self.target]


def why_not() -> str:
    """Why this machine cannot build a box; "" where it can."""
    if sys.platform != "linux":
        return "boxes are made of what Linux alone has"
    missing = [tool for tool in ("unshare", "mount", "nsenter", "setpriv", "chroot") if not shutil.which(tool)]
    if missing:
        return f"{', '.join(missing)} of util-linux is not installed"
    if os.geteuid():
        return "only root may build one"
    done = subprocess.run(["unshare", "--mount", "--pid", "--net", "--fork", "true"], capture_output=True)
    return "" if done.returncode == 0 else "this kernel allows no namespaces of one's own here"


@dataclass
class Box(Printed):
    """A command that runs in a box. With `boxed=False` it runs as it is, where no box can be built.

    Attributes:
        command: the program and its arguments.
        environment: all that it has of variables.
        directory: where it starts.
        root: the folder that is its root, read-only; "" makes one of what it sees.
        sees: what it sees beside that.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    root: str = ""
    sees: Sequence[See] = ()
    boxed: bool = True
    started: float = field(default=0.0, init=False)

    def __enter__(self) -> "Box":
        self.log = tempfile.TemporaryFile()
        command = list(self.command)
        if self.boxed:
            sees = [word for see in self.sees for word in see.words]
            self.place = tempfile.mkdtemp(prefix="course-box-")
            kind = ["own", self.root] if self.root else ["made", self.place]
            inside = [*kind, str(USER), *sees, "--", self.directory, *command]
            space = [
                str(shutil.which("unshare")),
                "--mount",
                "--pid",
                "--ipc",
                "--uts",
                "--net",
                "--fork",
                "--kill-child",
            ]
            command = [*space, "sh", "-euc", SCRIPT, "box", *inside]
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=subprocess.STDOUT, env=dict(self.environment),
            cwd=None if self.boxed else self.directory, start_new_session=True,
        )  # fmt: skip
        if self.boxed:
            self._loopback()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
        self.log.close()
        if self.boxed:
            Path(self.place).rmdir()

    def _loopback(self) -> None:
        """Switches the loopback of the box on: a new network has it, switched off."""
        ours, theirs = Path("/proc/self/ns/net"), Path(f"/proc/{self.process.pid}/ns/net")
        while self.process.poll() is None and ours.stat().st_ino == theirs.stat().st_ino:
            time.sleep(0.01)  # until unshare has left our network
        if self.process.poll() is None:
            with self.socket() as inside:
                name_and_flags = struct.pack("16sh", b"lo", 1)  # IFF_UP
                fcntl.ioctl(inside, 0x8914, name_and_flags)  # SIOCSIFFLAGS

    def socket(self) -> socket.socket:
        """A TCP socket in the network of the box: a socket stays in the network in which it was made."""
        if not self.boxed:
            return socket.socket()
        import ctypes

        libc, made = ctypes.CDLL(None, use_errno=True), []

        def make() -> None:
            with Path(f"/proc/{self.process.pid}/ns/net").open("rb") as network:
                if libc.setns(network.fileno(), CLONE_NEWNET) == 0:
                    made.append(socket.socket())

        thread = threading.Thread(target=make)  # the network belongs to a thread: this one keeps its own
        thread.start()
        thread.join()
        if not made:
            raise CourseError(f"the box has ended: {self.last_line()}")
        return made[0]

    def ask(
        self, port: int, path: str, body: Any = None, timeout: float = 60.0, headers: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """The status and text of an answer over HTTP; a `body` is sent as JSON, or, where it is bytes, as it is.

        Raises:
            OSError: nothing listens there, or it does not answer in time.
        """
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
        connection.sock = self.socket()
        connection.sock.settimeout(timeout)
        try:
            connection.sock.connect(("127.0.0.1", port))
            sent = body if body is None or isinstance(body, bytes) else json.dumps(body)
            said = {"Content-Type": "application/json"} if isinstance(sent, str) else {}
            connection.request("GET" if sent is None else "POST", path, sent, {**said, **(headers or {})})
            answer = connection.getresponse()
            return answer.status, answer.read().decode("utf-8", "replace")
        except http.client.HTTPException as error:
            raise OSError(str(error) or type(error).__name__) from None
        finally:
            connection.close()

    def wait_until_healthy(self, port: int, path: str, seconds: float) -> float:
        """Asks until `path` answers 200; returns the seconds since the start.

        Raises:
            CourseError: it has ended, or is not healthy in time.
        """
        found = "nothing listens there"
        while time.monotonic() - self.started < seconds:
            if self.process.poll() is not None:
                raise CourseError(f"it ended by itself (code {self.process.returncode}): {self.last_line()}")
            try:
                status, _ = self.ask(port, path, timeout=5.0)
                if status == 200:
                    return time.monotonic() - self.started
                found = f"the answer was {status}"
            except (OSError, CourseError) as error:
                found = str(error)
            time.sleep(0.1)
        raise CourseError(f"port {port} was not healthy after {seconds:g} s ({found}): {self.last_line()}")

    def listening(self) -> set[int]:
        """The TCP ports that the box listens on; without a box, those of the process and what it has started."""
        if self.boxed:
            ports = set()
            for table in ("tcp", "tcp6"):
                with suppress(OSError):
                    lines = Path(f"/proc/{self.process.pid}/net/{table}").read_text(encoding="ascii").splitlines()[1:]
                    rows = [line.split() for line in lines]
                    ports |= {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}
            return ports
        import psutil

        ours = psutil.Process(self.process.pid)
        found = [c for p in (ours, *ours.children(recursive=True)) for c in p.net_connections("tcp")]
        return {connection.laddr.port for connection in found if connection.status == psutil.CONN_LISTEN}

    def inside(self, command: Sequence[str], timeout: float = 60.0) -> tuple[int, str]:
        """Runs another command in the box, as `docker exec` does; its exit code, and what it printed."""
        if self.boxed:
            own = ["--target", str(self._first()[0]), "--mount", "--net", "--ipc", "--uts", "--root", "--wd=/"]
            who = ["--setgid", str(USER), "--setuid", str(USER), "--"]
            command = [str(shutil.which("nsenter")), *own, *who, *command]
        where = None if self.boxed else self.directory
        done = subprocess.run(
            command, env=dict(self.environment), cwd=where, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, timeout=timeout, encoding="utf-8", errors="replace",
        )  # fmt: skip
        return done.returncode, done.stdout

    def processes(self) -> list[Any]:
        """Those that run in it, as psutil has them."""
        import psutil

        ours = psutil.Process(self.process.pid)
        return ours.children(recursive=True) or [ours]

    def processor(self) -> float:
        """The seconds that its processes have computed, added up: on a machine that has other work to do, too, this is
        what they cost."""
        import psutil

        found = 0.0
        for process in self.processes():
            with suppress(psutil.Error):
                found += sum(process.cpu_times()[:2])
        return found

    def memory(self) -> int:
        """The most bytes that its processes have held in memory, added up."""
        most = 0
        for process in self.processes():
            with suppress(OSError):
                for line in Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8").splitlines():
                    most += int(line.split()[1]) * 1024 if line.startswith("VmHWM:") else 0
        return most

    def stop(self, seconds: float = 15.0) -> float:
        """Asks it to end, as `docker stop` does (SIGTERM), and kills it after so many seconds.

        Returns the seconds that it took.
        """
        began = time.monotonic()
        if self.process.poll() is None:
            for pid in self._first() or [self.process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()
        return time.monotonic() - began

    def _first(self) -> list[int]:
        """The process that is the first of the box: unshare itself does not pass signals on."""
        if not self.boxed:
            return [self.process.pid]
        with suppress(OSError):
            children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
            return [int(pid) for pid in children.read_text(encoding="ascii").split()]
        return []
