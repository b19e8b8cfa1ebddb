"""Files are whole or not there, whatever happens while they are written."""

import errno
import math
import os
import subprocess
import sys

import pytest

from shared.errors import CourseError
from shared.files import ROOT, is_hidden, only_one, read_json, write_json, written_whole


def test_root_is_the_folder_of_the_repository():
    assert (ROOT / "pyproject.toml").is_file()


def test_new_file_appears_only_at_the_end(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with written_whole(path) as temporary:
        assert temporary.parent == path.parent  # on the same disk, so that renaming is one step
        temporary.write_text("whole", encoding="utf-8")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "whole"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("trouble", [KeyboardInterrupt, SystemExit, ValueError, MemoryError])
@pytest.mark.parametrize("there_before", [True, False])
def test_interrupted_write_leaves_what_was_there(tmp_path, trouble, there_before):
    path = tmp_path / "model.safetensors"
    if there_before:
        path.write_bytes(b"old and whole")
    with pytest.raises(trouble), written_whole(path) as temporary:
        temporary.write_bytes(b"new and ha")
        raise trouble
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == (
        [("model.safetensors", b"old and whole")] if there_before else []
    )


def test_full_disk_is_one_clear_error_and_leaves_the_old_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"old and whole")
    with pytest.raises(CourseError) as caught, written_whole(path) as temporary:
        temporary.write_bytes(b"new and ha")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == (
        f"cannot write {path}: No space left on device. Free some space or choose another place."
    )
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("a.txt", b"old and whole")]


def test_disk_that_is_full_only_at_the_end(tmp_path, monkeypatch):
    """Some file systems say so only when the data is sent to the disk."""

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CourseError, match="No space left on device"):
        write_json(tmp_path / "a.json", {})
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(CourseError, match=r"^cannot write .*a\.txt: .*\. Free some space or choose another place\.$"):
        write_json(tmp_path / "file" / "a.txt", {})


def test_json_there_and_back(tmp_path):
    value = {"name": "né", "numbers": [1, 2.5, -0.1], "nothing": None, "yes": True}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "né" in (tmp_path / "a.json").read_text(encoding="utf-8")


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_json_has_no_nan(tmp_path, number):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": number})
    assert list(tmp_path.iterdir()) == []


def test_missing_json(tmp_path):
    with pytest.raises(CourseError) as caught:
        read_json(tmp_path / "a.json")
    assert str(caught.value) == f"{tmp_path / 'a.json'} is not there."


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b"\xff\xfe", b"not json"])
def test_damaged_json(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(CourseError) as caught:
        read_json(path)
    assert str(caught.value).startswith(f"{path} is not readable JSON (")
    assert str(caught.value).endswith("). Delete it or put a whole one in its place.")


def test_a_name_that_is_not_utf_8_comes_back_from_json(tmp_path):
    value = {"caf\udce9.png": "猫"}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "猫" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_run_has_one_process_at_a_time(tmp_path):
    line = f"{tmp_path}: another process is training in this run. Wait for it, or start a new one with --out."
    code = (
        "import sys; from shared.files import only_one; from shared.errors import CourseError\n"
        "try:\n    with only_one(sys.argv[1]): print('has it')\nexcept CourseError as error: print(error)"
    )

    def another():
        command = [sys.executable, "-c", code, tmp_path]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUTF8": "1"}
        return subprocess.run(command, env=environment, capture_output=True, encoding="utf-8").stdout.strip()

    with only_one(tmp_path):
        with only_one(tmp_path):
            assert another() == line
        assert another() == line
    assert another() == "has it"


@pytest.mark.parametrize("name", [".DS_Store", "a/._cat.jpg", "__MACOSX/cat.jpg", "data/Thumbs.db", "@eaDir/x"])
def test_what_a_system_has_put_there_is_hidden(name):
    assert is_hidden(name)


@pytest.mark.parametrize("name", ["cat.jpg", "./cats/cat.jpg", "../cat.jpg", "a.b/c"])
def test_what_a_person_has_put_there_is_not_hidden(name):
    assert not is_hidden(name)
