"""Unpacking: good archives arrive whole, hostile ones write nothing, damaged ones are named."""

import errno
import io
import os
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from shared.archives import unpack
from shared.errors import CourseError

FILES = {"set/a.txt": b"first", "set/deep/b.bin": bytes(range(256)) * 40, "ünï cödé.txt": "né".encode()}
SUFFIXES = {".tar": "w", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}


def make_tar(path: Path, files=FILES, extra=()) -> Path:
    """A tar of `files`, in the compression of its name, with the TarInfos of `extra` first."""
    mode = SUFFIXES["".join(path.suffixes)]
    with tarfile.open(path, mode) as tar:
        for member in extra:
            tar.addfile(member)
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def make_zip(path: Path, files=FILES) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in files.items():
            file.writestr(name, data)
    return path


def make(path: Path, files=FILES) -> Path:
    return make_zip(path, files) if path.suffix == ".zip" else make_tar(path, files)


def link(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(archive: Path, tmp_path: Path, **options) -> str:
    """Unpacks into two folders deep, and proves that nothing at all was written anywhere. Returns the message."""
    before = contents(tmp_path)
    with pytest.raises(CourseError) as caught:
        unpack(archive, tmp_path / "here" / "into", **options)
    assert contents(tmp_path) == before
    assert list((tmp_path / "here").iterdir()) == []
    message = str(caught.value)
    assert message.startswith(f"{archive} ")
    assert "\n" not in message
    return message.removeprefix(f"{archive} ")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".zip"])
def test_unpacks_each_format(tmp_path, suffix):
    into = tmp_path / "new" / "into"
    assert unpack(make(tmp_path / f"archive{suffix}"), into) == into
    assert contents(into) == FILES
    assert [path.name for path in into.parent.iterdir()] == ["into"]


@pytest.mark.parametrize("suffix", [".tar.gz", ".zip"])
def test_the_name_of_the_archive_does_not_matter(tmp_path, suffix):
    archive = make(tmp_path / f"archive{suffix}").rename(tmp_path / "download")
    assert contents(unpack(archive, tmp_path / "into")) == FILES


def test_folder_that_is_there_is_left_as_it_is(tmp_path):
    into = tmp_path / "into"
    into.mkdir()
    (into / "mine.txt").write_text("mine", encoding="utf-8")
    assert unpack(make_tar(tmp_path / "a.tar"), into) == into
    assert contents(into) == {"mine.txt": b"mine"}


def test_leftovers_of_a_killed_run_do_not_matter(tmp_path):
    leftover = tmp_path / f".into.{os.getpid()}.tmp"
    leftover.mkdir()
    (leftover / "half.txt").write_text("half", encoding="utf-8")
    assert contents(unpack(make_tar(tmp_path / "a.tar"), tmp_path / "into")) == FILES


@pytest.mark.parametrize("suffix", [".tar", ".zip"])
@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil", "\\evil", "C:\\evil", "C:evil", ".."])
def test_path_that_leads_outside(tmp_path, suffix, name):
    archive = make(tmp_path / f"a{suffix}", {"good": b"good", name: b"evil"})
    assert refused(archive, tmp_path) == f"holds {name!r}, which may lead outside its folder. Nothing was unpacked."


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("target", ["../../outside", "/etc/passwd", "set/../../../outside", ".."])
def test_link_that_leads_outside(tmp_path, kind, target):
    archive = make_tar(tmp_path / "a.tar", extra=[link("door", target, kind)])
    assert refused(archive, tmp_path) == (
        f"holds the link 'door' to {target!r}, which may lead outside its folder. Nothing was unpacked."
    )


def test_links_that_lead_outside_only_together(tmp_path):
    """Each of them stays inside by its letters; followed on a disk, the second is two folders above the first."""
    (folder := tarfile.TarInfo("d")).type = tarfile.DIRTYPE
    archive = make_tar(tmp_path / "a.tar", {"m/evil": b"evil"}, [folder, link("d/l", "."), link("m", "d/l/../..")])
    assert refused(archive, tmp_path).startswith("holds the link 'm' to 'd/l/../..'")


@pytest.mark.skipif(os.name == "nt", reason="symbolic links need a right of their own there")
def test_links_that_stay_inside_are_kept(tmp_path):
    links = [link("latest", "set/a.txt"), link("folder", "set")]
    into = unpack(make_tar(tmp_path / "a.tar", extra=links), tmp_path / "into")
    assert (into / "latest").read_bytes() == FILES["set/a.txt"]
    assert (into / "folder" / "deep" / "b.bin").read_bytes() == FILES["set/deep/b.bin"]


def test_link_in_a_zip(tmp_path):
    member = zipfile.ZipInfo("door")
    member.create_system, member.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    archive = make_zip(tmp_path / "a.zip", {member: b"../../outside"})
    assert refused(archive, tmp_path) == "holds the link 'door'. Nothing was unpacked."


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_device(tmp_path, kind):
    archive = make_tar(tmp_path / "a.tar", extra=[link("tap", "", kind)])
    assert refused(archive, tmp_path) == "holds 'tap', which is a device or a pipe. Nothing was unpacked."


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".zip"])
def test_bomb(tmp_path, suffix):
    archive = make(tmp_path / f"a{suffix}", {"a": bytes(600_000), "b": bytes(400_001)})
    message = "holds more than 1,000,000 bytes unpacked. Nothing was unpacked."
    assert refused(archive, tmp_path, limit=1_000_000) == message
    assert unpack(archive, tmp_path / "into", limit=1_000_001).is_dir()


def test_zip_that_lies_about_its_size(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": bytes(1_000_000)})
    true, told = (1_000_000).to_bytes(4, "little"), (1_000).to_bytes(4, "little")
    archive.write_bytes(archive.read_bytes().replace(true, told))
    assert refused(archive, tmp_path, limit=10_000).startswith("is damaged or no tar or zip file (")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".zip"])
def test_truncated_anywhere(tmp_path, suffix):
    data = make(tmp_path / f"whole{suffix}").read_bytes()
    # A plain tar ends in blocks of zeros that nobody misses: cut it where its contents are.
    end = 13_312 if suffix == ".tar" else len(data)
    for cut in sorted({0, 1, 2, 300, 511, 512, 513, 1024, 1536, 2048, end // 2, end - 9, end - 1}):
        if cut < end:
            archive = tmp_path / f"cut{cut}"
            archive.write_bytes(data[:cut])
            assert refused(archive, tmp_path).startswith("is damaged or no tar or zip file ("), cut


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.bz2", ".tar.xz", ".zip"])
def test_flipped_bits_never_go_unnoticed(tmp_path, suffix):
    """Whatever bit is wrong: either nothing is unpacked and the error is ours, or it did not matter."""
    data = make(tmp_path / f"whole{suffix}").read_bytes()
    damaged = 0
    for place in range(0, len(data), max(1, len(data) // 60)):
        archive, into = tmp_path / "flipped", tmp_path / f"into{place}"
        archive.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
        try:
            unpacked = contents(unpack(archive, into))
        except CourseError:
            damaged += 1
            assert not into.exists()
        else:  # a date or a permission; a zip's file names have no checksum
            assert sorted(unpacked.values()) == sorted(FILES.values())
    assert damaged > 20


def test_damaged_header_in_the_middle_is_not_the_end(tmp_path):
    archive = make_tar(tmp_path / "a.tar")
    data = bytearray(archive.read_bytes())
    data[1024] ^= 1  # the first letter of the second name: its header's checksum fails
    archive.write_bytes(data)
    assert refused(archive, tmp_path) == (
        "is damaged or no tar or zip file (the end is missing). Delete it and get a new copy."
    )


@pytest.mark.parametrize("content", [b"<html>Not found</html>", b"", b"PK", b"\x1f\x8b", b"\0" * 100])
def test_no_archive_at_all(tmp_path, content):
    archive = tmp_path / "a.zip"
    archive.write_bytes(content)
    message = refused(archive, tmp_path)
    assert message.startswith("is damaged or no tar or zip file (")
    assert message.endswith("). Delete it and get a new copy.")


def test_encrypted_zip(tmp_path):
    archive = make_zip(tmp_path / "a.zip", {"a": b"secret"})
    data = bytearray(archive.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(header) + flags] |= 1
    archive.write_bytes(data)
    assert "encrypted" in refused(archive, tmp_path)


def test_missing_archive(tmp_path):
    archive, into = tmp_path / "missing.zip", tmp_path / "into"
    with pytest.raises(CourseError) as caught:
        unpack(archive, into)
    assert str(caught.value) == f"cannot unpack {archive} into {into}: No such file or directory."


def test_full_disk(tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    archive, into = make_tar(tmp_path / "a.tar.gz"), tmp_path / "into"
    monkeypatch.setattr(tarfile, "copyfileobj", full)
    with pytest.raises(CourseError) as caught:
        unpack(archive, into)
    assert str(caught.value) == f"cannot unpack {archive} into {into}: No space left on device."
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]


def test_interrupted_unpacking_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    archive = make_tar(tmp_path / "a.tar.gz")
    monkeypatch.setattr(tarfile, "copyfileobj", interrupted)
    with pytest.raises(KeyboardInterrupt):
        unpack(archive, tmp_path / "into")
    assert [path.name for path in tmp_path.iterdir()] == ["a.tar.gz"]
