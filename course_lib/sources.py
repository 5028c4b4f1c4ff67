"""The code of your own network as text, so that an edit of it can be noticed."""

from __future__ import annotations

import inspect
import io
import textwrap
import tokenize
from types import FunctionType
from typing import Any

import torch

from .storage.identity import weights_digest

SIMPLE = (bool, int, float, str, type(None))  # types that are written the same on every computer
NOT_YOURS = ("torch", "course_lib", "builtins")


def is_yours(kind: type) -> bool:
    """Whether a class was written by somebody else than PyTorch's authors, Python's and us."""
    return kind.__module__.split(".")[0] not in NOT_YOURS


def class_code(kind: type) -> str:
    """What a class of yours consists of, and those of yours that it inherits from.

    Comments and docstrings don't count. Methods are read one by one: before Python 3.13, the source
    of a notebook's class can't be found.
    """
    parts = []
    for base in kind.__mro__:
        if is_yours(base):
            for name, member in sorted(vars(base).items()):
                is_pythons_own = name.startswith("__") and not isinstance(member, FunctionType)
                if not is_pythons_own:
                    parts.append(f"{base.__name__}.{name}: {described(member)}")
    return "\n".join(parts)


def described(value: Any, seen: frozenset[int] = frozenset()) -> str:
    """A value as text: numbers and texts as they are, functions by their code, others by type.

    seen: the ids of the values that this one was found in.
    """
    if id(value) in seen:
        return "…"
    seen = seen | {id(value)}
    if isinstance(value, SIMPLE):
        return repr(value)
    if isinstance(value, torch.Tensor):
        return weights_digest({"": value})
    if isinstance(value, list | tuple):
        return str([described(part, seen) for part in value])
    if isinstance(value, dict):
        return str([(described(k, seen), described(v, seen)) for k, v in value.items()])
    if isinstance(value, property):
        return described([value.fget, value.fset], seen)
    if isinstance(value, staticmethod | classmethod):
        return described(value.__func__, seen)
    function = inspect.unwrap(value) if callable(value) else value
    if isinstance(function, FunctionType):
        return function_code(function, seen)
    return getattr(value, "__name__", type(value).__name__)


def function_code(function: FunctionType, seen: frozenset[int] = frozenset()) -> str:
    """The code of a function, and what it uses: defaults, enclosed values, globals of yours."""
    try:
        code = without_comments(textwrap.dedent(inspect.getsource(function)))
    except (OSError, tokenize.TokenError, SyntaxError):  # made by exec, or a lambda in mid-line
        compiled = function.__code__
        code = f"{compiled.co_code.hex()} {compiled.co_names} {compiled.co_consts[1:]}"
    # Spaces are gone. The function's own name doesn't matter: the class may use another.
    parts = [code.replace(f"def{function.__name__}(", "def(", 1)]
    parts.append(described(list(function.__defaults__ or ()), seen))
    for cell in function.__closure__ or ():
        parts.append(described(cell.cell_contents, seen))
    for name in function.__code__.co_names:
        value = function.__globals__.get(name)
        if isinstance(value, SIMPLE) or isinstance(value, FunctionType):
            parts.append(f"{name} = {described(value, seen)}")
    return "\n".join(parts)


def without_comments(source: str) -> str:
    """Some code without comments, docstrings and layout: the same on every Python version.

    Raises tokenize.TokenError or SyntaxError if it isn't complete.
    """
    pieces: list[str] = []
    statement: list[str] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.INDENT:
            pieces.append("{")
        elif token.type == tokenize.DEDENT:
            pieces.append("}")
        elif token.type == tokenize.NEWLINE:
            if not _is_docstring(statement):
                pieces += [*statement, "\n"]
            statement = []
        elif token.type not in (tokenize.COMMENT, tokenize.NL):
            # Python 3.12 began to split f-strings into several tokens. Without spaces, their text
            # is the same as before.
            statement.append("".join(token.string.split()))
    return "".join(pieces + statement)


def _is_docstring(statement: list[str]) -> bool:
    """Whether a statement is only a string, such as a docstring."""
    return len(statement) == 1 and statement[0].endswith(('"', "'"))
