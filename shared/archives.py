"""Unpacking what came from elsewhere: nothing lands outside the folder, and the folder is whole or not there."""

import lzma
import os
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from shared.errors import CourseError

LIMIT = 20 * 2**30
"""Bytes an archive may hold unpacked. A few kilobytes of zip can hold petabytes of zeros."""

DAMAGE = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError)
"""What the readers raise for a file that is cut off, corrupt, encrypted or no archive at all."""


def unpack(archive: Path, into: Path, limit: int = LIMIT) -> Path:
    """Unpacks a .tar (plain, .gz, .bz2, .xz) or .zip file into the folder `into`, and returns `into`.

    A folder that is there already is taken as it is.

    Raises:
        CourseError: the archive is damaged, holds something unsafe (a path or link that leads outside, a device) or
            more than `limit` bytes, or cannot be written out. `into` is not there then.
    """
    if into.exists():
        return into
    temporary = into.with_name(f".{into.name}.{os.getpid()}.tmp")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        with archive.open("rb") as file:
            is_zip = file.read(2) == b"PK"
        (_unpack_zip if is_zip else _unpack_tar)(archive, temporary, limit)
        temporary.rename(into)
    except DAMAGE as error:
        raise _damaged(archive, error) from error
    except OSError as error:
        if error.errno is None:  # gzip and bz2 report bad data as an OSError without a number
            raise _damaged(archive, error) from error
        if not into.is_dir():  # else another process was faster
            raise CourseError(f"cannot unpack {archive} into {into}: {error.strerror}.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return into


def _unpack_tar(archive: Path, folder: Path, limit: int) -> None:
    # Python's own checks, where they exist (3.12, late 3.11), come on top of ours.
    extra = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as tar:
        tar.extractall(folder, members=_checked(tar, archive, limit), **extra)
        # tarfile takes a damaged header for the end. The true end is a block of zeros; reading on to the end of the
        # file lets gzip and xz compare their checksums.
        tar.fileobj.seek(tar.offset)
        if tar.fileobj.read(tarfile.BLOCKSIZE) != tarfile.NUL * tarfile.BLOCKSIZE:
            raise tarfile.ReadError("the end is missing")
        while tar.fileobj.read(1 << 20):
            pass


def _checked(tar: tarfile.TarFile, archive: Path, limit: int) -> Iterator[tarfile.TarInfo]:
    total = 0
    for member in tar:
        _check_path(archive, member.name)
        if member.issym() or member.islnk():
            _check_path(archive, member.name, member.linkname)
        elif not (member.isfile() or member.isdir()):
            raise CourseError(f"{archive} holds {member.name!r}, which is a device or a pipe. Nothing was unpacked.")
        total += member.size
        _check_total(archive, total, limit)
        yield member


def _unpack_zip(archive: Path, folder: Path, limit: int) -> None:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            _check_path(archive, member.filename)
            if stat.S_ISLNK(member.external_attr >> 16):  # zipfile would write the link's target as a text file
                raise CourseError(f"{archive} holds the link {member.filename!r}. Nothing was unpacked.")
        # A size that lies is no way around: zipfile reads no more than is declared, and then compares the checksum.
        _check_total(archive, sum(member.file_size for member in file.infolist()), limit)
        file.extractall(folder)


def _check_path(archive: Path, name: str, link: str | None = None) -> None:
    """Refuses absolute paths and `..`, with slashes and with backslashes.

    Links with `..` are refused even where they seem to stay inside: through a second link they need not. A link without
    it only ever leads further down.
    """
    path = PureWindowsPath(name if link is None else link)
    if path.drive or path.root or ".." in path.parts:
        what = repr(name) if link is None else f"the link {name!r} to {link!r}"
        raise CourseError(f"{archive} holds {what}, which may lead outside its folder. Nothing was unpacked.")


def _check_total(archive: Path, total: int, limit: int) -> None:
    if total > limit:
        raise CourseError(f"{archive} holds more than {limit:,} bytes unpacked. Nothing was unpacked.")


def _damaged(archive: Path, error: Exception) -> CourseError:
    why = str(error).partition("\n")[0].rstrip(":") or type(error).__name__
    return CourseError(f"{archive} is damaged or no tar or zip file ({why}). Delete it and get a new copy.")
