"""The Makefile: what you type reaches a program as it is, and nothing in it is run."""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parent.parent
# In place of Python: leaves its arguments and its environment.
RECORDER = """#!/bin/sh
printf '%s\\0' "$@" > arguments
env -0 > environment
"""
ODD = [
    "my 고양이.zip",
    "a'b;touch OWNED.zip",
    "a`touch OWNED`.zip",
    "$(touch OWNED)",
    "$(shell touch OWNED)",
    "${shell touch OWNED}",
    "!$(eval X := $(shell touch OWNED))",
    "$(error stop)",
    "a\n\ttouch OWNED",
    'a"b & touch OWNED & "',
    "-x",
    "--fresh",
    "trailing blank ",
    "a#b",
    "50%",
    "x:=y",
    "$$HOME",
    "$@",
    "$(",
    "~",
    "*",
    "\\",
]
PARTS = st.sampled_from([*"ab $(){}'\"`;&|<>\\#%:=*?~!\n\t@-", "$(shell touch OWNED)", "고양이"])
# Blanks before a value on the command line are make's own.
TEXTS = st.lists(PARTS, min_size=1, max_size=12).map("".join).filter(lambda text: text[0] > " ")

pytestmark = pytest.mark.skipif(not shutil.which("make"), reason="there is no make")


@pytest.fixture(scope="module")
def make(tmp_path_factory):
    """A function that calls make in a copy of the checkout whose Python only takes notes.

    It returns the arguments and the environment that this Python got.
    """
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", "requirements.txt"):
        (folder / name).touch()
        os.utime(folder / name, (1, 1))  # older than what was installed
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(RECORDER)
    python.chmod(python.stat().st_mode | stat.S_IXUSR)
    (folder / ".venv" / "run-installed").touch()

    def call(target, on_the_line=None, around=None):
        environment = {
            name: value for name, value in os.environ.items() if not name.startswith("COURSE_")
        }
        environment |= around or {}
        given_values = [f"{name}={value}" for name, value in (on_the_line or {}).items()]
        for name in ("arguments", "environment"):
            (folder / name).unlink(missing_ok=True)
        command = ["make", "-s", target, *given_values]
        subprocess.run(command, cwd=folder, env=environment, check=True, capture_output=True)
        assert not list(folder.glob("OWNED*"))
        arguments = (folder / "arguments").read_bytes().decode().split("\0")[:-1]
        lines = (folder / "environment").read_bytes().decode().split("\0")[:-1]
        return arguments, dict(line.split("=", 1) for line in lines)

    return call


def received(make, target, name, value, way):
    """What the program gets of a value that's given to make."""
    arguments, environment = make(target, **{way: {name: value}})
    if name in ("DATA", "PRESET"):
        return environment[f"COURSE_{name}"]
    if name.startswith("COURSE_"):
        return environment[name]
    if name == "NOTEBOOKS":
        return arguments[-1].removeprefix("--notebooks=")
    if name == "AT":
        return arguments[-1].removeprefix("--at=")
    assert arguments[-2] == "--"  # REPO, DIR: what follows is no option
    return arguments[-1]


@pytest.mark.parametrize("way", ["on_the_line", "around"])
@pytest.mark.parametrize(
    "target, name",
    [
        ("reproduce", "DATA"),
        ("reproduce", "PRESET"),
        ("reproduce", "NOTEBOOKS"),
        ("reproduce", "COURSE_DATA"),
        ("compare", "DATA"),
        ("compare", "COURSE_HOME"),
        ("seeds", "COURSE_SIZE"),
        ("publish", "REPO"),
        ("grade", "DIR"),
        ("release", "DATA"),
        ("release", "AT"),
    ],
)
def test_an_odd_value_arrives_and_is_never_run(target, name, way, make):
    for value in ODD:
        assert received(make, target, name, value, way) == value


@given(value=TEXTS)
def test_any_path_arrives(value, make):
    assert received(make, "reproduce", "DATA", value, "on_the_line") == value


def test_only_fresh_1_deletes_a_run(make):
    for value in ("", "0", "no", *ODD):
        assert "--fresh" not in make("reproduce", {"FRESH": value})[0]
    assert "--fresh" in make("reproduce", {"FRESH": "1"})[0]


def test_a_setting_of_the_environment_stays_unless_make_is_told_another(make):
    mine = {"COURSE_DATA": "mine.zip", "COURSE_PRESET": "full"}
    for target in ("reproduce", "compare", "seeds"):
        _, environment = make(target, around=mine)
        assert environment["COURSE_DATA"] == "mine.zip"
        assert environment["COURSE_PRESET"] == "full"
    _, environment = make("reproduce", {"DATA": "other.zip"}, mine)
    assert environment["COURSE_DATA"] == "other.zip"
    assert environment["COURSE_PRESET"] == "full"


def test_make_alone_prints_every_target():
    printed = subprocess.run(
        ["make", "-s"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    [phony] = [line for line in makefile.splitlines() if line.startswith(".PHONY:")]
    for target in phony.split()[1:]:
        assert target == "help" or f"make {target} " in printed
