"""What `make grade` starts to mark one answer at a time; tools/grade.py explains it.

It runs from a copy that lies beside a copy of the library, so that nothing leads from here to the
solutions. For each line of JSON that it's sent, it forks: the new process runs the answer and the
check, and sends one message back through a pipe.
"""

from __future__ import annotations

import builtins
import json
import math
import os
import re
import resource
import secrets
import select
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn
from torchvision import transforms

from course_lib import checks, open_course
from course_lib.checks import block, verdict

GIB = 2**30
MEMORY = 3 * GIB  # that an answer may use beside PyTorch's own
LARGEST_FILE = 100 * 2**20  # bytes, of what an answer writes
LONGEST = 500  # characters of a sentence

# What an answer may use without importing it, as its notebook has imported it somewhere above.
IMPORTED = {
    "F": F,
    "Tensor": Tensor,
    "checks": checks,
    "math": math,
    "nn": nn,
    "np": np,
    "torch": torch,
    "torchvision": torchvision,
    "transforms": transforms,
}

READS = {"os.chdir", "os.listdir", "os.scandir"}
CHANGES = {
    *("os.chflags", "os.chmod", "os.chown", "os.link", "os.mkdir", "os.remove", "os.rename"),
    *("os.removexattr", "os.rmdir", "os.setxattr", "os.symlink", "os.truncate", "os.utime"),
}
# Other processes, the network, and what reaches around Python.
NEVER = re.compile(
    r"ctypes\.|gc\.get_|pty\.|resource\.|signal\.|socket\.|subprocess\."
    r"|sys\.(_current_|addaudithook|setprofile|settrace)"
    r"|os\.(exec|fork|kill|posix_spawn|spawn|system|startfile)"
)
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Tail:
    """Stands in for the screen: keeps the end of what's printed, however much it is."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        """Keep the end of this text, or of what was printed before and this text."""
        self.text = (self.text + text[-4 * LONGEST :])[-4 * LONGEST :]
        return len(text)

    def flush(self) -> None:
        """Do nothing; a screen has this method."""


def serve() -> None:
    """Mark each answer that stdin asks for, in a line of JSON: its code, its check, the seconds.

    Each is answered in a line on stdout: the verdict (true, false, null) and a sentence.
    """
    # The training in this check changes no verdict, and takes a minute.
    block.loss_after_training = lambda make_block, course: math.nan
    course = open_course("shapes", "smoke")
    print("ready", flush=True)
    for line in sys.stdin:
        print(json.dumps(in_its_own_process(course=course, **json.loads(line))), flush=True)


def in_its_own_process(code: str, check: str, seconds: float, course: Any) -> tuple:
    """The verdict on an answer, and a sentence, from a process that ends after `seconds`."""
    token = secrets.token_hex()
    folder = tempfile.mkdtemp()
    reader, writer = os.pipe()
    process = os.fork()
    if process == 0:
        os.close(reader)
        enter(folder, seconds)
        os.write(writer, json.dumps([token, *mark(code, check, course)]).encode())
        os._exit(0)
    os.close(writer)
    in_time, _, _ = select.select([reader], [], [], seconds)
    message = os.read(reader, 2**16) if in_time else b""
    try:
        os.killpg(process, signal.SIGKILL)  # whatever it started, too
    except OSError:  # it has had no time to become a group
        os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    os.close(reader)
    shutil.rmtree(folder, ignore_errors=True)
    if not in_time:
        return False, f"✗ Your code takes longer than {seconds:g} seconds."
    if not message:
        return (
            False,
            "✗ Python ended before your code did: it calls exit, or needs too much memory.",
        )
    if not message.startswith(f'["{token}"'.encode()):
        return False, "✗ Your code writes into the channel of the marks."
    return tuple(json.loads(message)[1:])


def enter(folder: str, seconds: float) -> None:
    """Confine this process to an empty folder, as well as Python can, and to a time."""
    signal.alarm(math.ceil(seconds) + 5)  # if nobody is left to end it, as after Ctrl-C
    os.setsid()
    os.chdir(folder)
    os.environ["HOME"] = os.environ["TMPDIR"] = tempfile.tempdir = folder
    nothing = os.open(os.devnull, os.O_RDWR)
    for screen_or_keyboard in (0, 1, 2):
        os.dup2(nothing, screen_or_keyboard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, LARGEST_FILE))
    if sys.platform == "linux":  # elsewhere, this limit has no effect
        # Not RLIMIT_AS: PyTorch reserves much more address space than it ever uses.
        pages = int(Path("/proc/self/statm").read_text().split()[5])
        limit = pages * resource.getpagesize() + MEMORY
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    verdict.SEED = secrets.randbits(32)
    torch.manual_seed(secrets.randbits(32))
    python = [os.path.realpath(path) for path in (sys.prefix, sys.base_prefix, *sys.path) if path]
    sys.addaudithook(guard(os.path.realpath(folder), python))


def guard(folder: str, python: list[str]) -> Any:
    """An audit hook: Python calls it before it opens a file, starts a process, ….

    It lets an answer write in `folder` only, and read there and in Python's own folders.
    """

    def require(path: object, places: list[str]) -> None:
        if isinstance(path, str | bytes | os.PathLike):
            found = os.path.realpath(os.fsdecode(path))
            inside = any(found == place or found.startswith(place + os.sep) for place in places)
            if not inside and found != os.devnull:
                raise PermissionError(f"{found} can't be used while answers are marked")

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            writes = bool(arguments[2] & WRITING)
            require(arguments[0], [folder] if writes else [folder, *python])
        elif event in READS:
            require(arguments[0], [folder, *python])
        elif event in CHANGES:
            for argument in arguments:
                require(argument, [folder])
        elif NEVER.match(event):
            raise PermissionError(f"{event} can't be used while answers are marked")

    return hook


def mark(code: str, check: str, course: Any) -> tuple[bool | None, str]:
    """Run an answer and its check here; return the verdict and a sentence."""
    before = originals()
    screen: Any = Tail()
    sys.stdout = sys.stderr = screen
    names = {**IMPORTED, "course": course, "__name__": "__main__"}
    try:
        exec(compiled(code), names)
        replaced = replaced_since(before)
        screen.text = ""
        names |= {"checks": checks, "course": course}
        exec(check, names)
    except checks.Todo:
        return None, "… Not done yet."
    except BaseException as error:  # whatever an answer raises, SystemExit among it
        message = " ".join(str(error).split())
        return False, f"✗ Your code raises {type(error).__name__}: {message}"[:LONGEST]
    replaced += replaced_since(before)
    if replaced:
        return False, f"✗ Your code replaces {replaced[0]}, which the check needs."
    passed = names["passed"]
    if passed is True and "no_shortcut" in check:
        return True, "✓ Your block has no short-cut. (Nothing was trained while it was marked.)"
    lines = screen.text.splitlines() or [""]
    return passed, lines[-1][:LONGEST]


def compiled(code: str) -> CodeType:
    """The code of a cell; lines such as `%time` and `!pip install` only count in a notebook."""
    try:
        return compile(code, "your answer", "exec")
    except SyntaxError:
        return compile(re.sub(r"^[%!].*", "", code, flags=re.MULTILINE), "your answer", "exec")


# --- Whether an answer has replaced what its check relies on


def originals() -> dict[str, tuple]:
    """What checks rely on, by name: functions and classes of Python, PyTorch and the course."""
    modules = [builtins, math, torch, F, nn, np]
    modules += [module for name, module in sys.modules.items() if name.startswith("course_lib")]
    found = {}
    for module in modules:
        everything = module.__name__.startswith("course_lib.checks")  # constants, too
        members = dict(vars(module))
        if everything:
            # Python itself adds a `__warningregistry__`.
            names = [name for name in members if not name.startswith("__")]
            found[f"names of {module.__name__}"] = tuple(names)
        for name, value in members.items():
            name = f"{module.__name__}.{name}"
            if everything or callable(value):
                found[name] = parts(value)
            if isinstance(value, type):
                found.update(methods(name, value))
    return found


def methods(name: str, kind: type) -> dict[str, tuple]:
    """The methods and properties of a class of this name, and which there are.

    A new one counts as well, as it may hide that of a base class.
    """
    found = {}
    names = []
    for inner, member in list(vars(kind).items()):
        if callable(member) or isinstance(member, property):
            found[f"{name}.{inner}"] = parts(member)
            names.append(inner)
    found[f"methods of {name}"] = tuple(names)
    return found


def parts(value: object) -> tuple:
    """A value and, of a Python function, all that could be replaced in it."""
    if not isinstance(value, FunctionType):
        return (value,)
    inside = []
    for cell in value.__closure__ or ():
        with suppress(ValueError):  # it's empty
            inside.append(cell.cell_contents)
    return (value, value.__code__, value.__defaults__, *inside)


def replaced_since(before: dict[str, tuple]) -> list[str]:
    """The names of what isn't what it was."""
    now = originals()
    replaced = []
    for name, was in before.items():
        found = now.get(name, ())
        if len(was) != len(found) or any(a is not b for a, b in zip(was, found)):
            replaced.append(name)
    return replaced
