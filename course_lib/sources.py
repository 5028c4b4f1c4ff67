"""Your own network as text, so that an edit of it can be noticed.

What can be described is described by its content: code, numbers, arrays, and objects by what pickle
would store of them. A description is "deep" if it follows everything that the code uses, also what
training itself may change, such as a list that is appended to.
"""

from __future__ import annotations

import dis
import inspect
import io
import sys
import sysconfig
import textwrap
import tokenize
from collections.abc import Iterator, Sequence
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any

import torch

from .storage.files import content_digest
from .storage.identity import weights_digest

SIMPLE = (bool, int, float, complex, str, type(None))  # written the same on every computer
NOT_YOURS = ("torch", "course_lib", "builtins")
INSTALLED = tuple(sysconfig.get_path(kind) for kind in ("stdlib", "purelib", "platlib"))
GLOBAL = ("LOAD_GLOBAL", "LOAD_NAME")  # the instructions that read a global variable

Seen = dict[int, Any]  # what has been described so far, by its id


class NotDescribed(Exception):
    """Raised for something of which nobody can tell whether it's the same as before."""


def is_yours(value: type | FunctionType) -> bool:
    """Whether a class or function was written by somebody else than PyTorch's authors, Python's
    and us."""
    return _module_of(value).split(".")[0] not in NOT_YOURS


def _module_of(value: type | FunctionType) -> str:
    """The name of the module that has a class or a function."""
    if isinstance(value, FunctionType):  # functools.wraps replaces its `__module__`
        return value.__globals__.get("__name__") or ""
    return value.__module__ or ""


def is_installed(value: type | FunctionType | ModuleType) -> bool:
    """Whether a class, function or module is part of Python or of an installed package."""
    if isinstance(value, ModuleType):
        file = getattr(value, "__file__", None) or ""  # of compiled ones, there may be none
        if hasattr(value, "__path__") and not file:  # a folder without __init__.py
            file = next(iter(value.__path__), "")
    elif not is_yours(value):
        return True
    elif _module_of(value) == "__main__":  # a notebook, or the program that was started
        return False
    elif isinstance(value, FunctionType):
        file = value.__code__.co_filename
    else:
        try:
            file = inspect.getfile(value)
        except (OSError, TypeError):  # a compiled one
            return True
    return file == "" or file.startswith((*INSTALLED, "<frozen"))


def replaced(modules: Sequence[ModuleType]) -> bool:
    """Whether a function or class of yours is in one of these modules, or in one that they use.

    They are installed, so it has taken the place of another. Methods count, too.
    """
    used = list(modules)
    for module in modules:
        used += [value for value in vars(module).values() if isinstance(value, ModuleType)]
    for module in used:
        for value in list(vars(module).values()):
            members = list(vars(value).values()) if _is_a(value, type) else []
            if any(_is_put_there(member) for member in [value, *members]):
                return True
    return False


def _is_put_there(value: Any) -> bool:
    """Whether something in an installed module is a function or class of yours.

    What has no module was generated, such as the methods of a named tuple.
    """
    if not _is_a(value, type) and not _is_a(value, FunctionType):
        return False
    return _module_of(value) in sys.modules and not is_installed(value)


def _is_a(value: Any, kind: type) -> bool:
    """What `isinstance` says without asking the value: some of PyTorch's answer with a warning."""
    return issubclass(type(value), kind)


def class_code(kind: type, deep: bool = False, seen: Seen | None = None) -> str:
    """What a class of yours consists of, and those of yours that it inherits from.

    Comments and docstrings don't count. Methods are read one by one: before Python 3.13, the source
    of a notebook's class can't be found.
    """
    parts = []
    for base in kind.__mro__:
        if is_yours(base) and not (deep and is_installed(base)):
            for name, member in sorted(vars(base).items()):
                is_pythons_own = name.startswith(("__", "_abc_"))
                if isinstance(member, FunctionType) or not is_pythons_own:
                    parts.append(f"{base.__name__}.{name}: {described(member, deep, seen)}")
    return "\n".join(parts)


def described(value: Any, deep: bool = False, seen: Seen | None = None) -> str:
    """A value as text: numbers and texts as they are, functions by their code.

    Other objects are described by their type; if `deep`, by their type and content, or NotDescribed
    is raised. seen: what was described before, and is only referred to.
    """
    seen = {} if seen is None else seen
    if isinstance(value, SIMPLE):
        return repr(value)
    if id(value) in seen:
        return f"… {list(seen).index(id(value))}"
    if not isinstance(value, tuple):
        seen[id(value)] = value  # kept, so that no other object gets its id
    if deep and not is_installed(type(value)):  # of a class of yours, which may be a list or dict
        return _content(value, seen)
    if isinstance(value, torch.Tensor):
        return weights_digest({"": value})
    if isinstance(value, bytes | bytearray):
        return content_digest(value.hex())
    if isinstance(value, list | tuple):
        return str([described(part, deep, seen) for part in value])
    if isinstance(value, dict):
        pairs = value.items()
        return str([(described(k, deep, seen), described(v, deep, seen)) for k, v in pairs])
    if isinstance(value, set | frozenset):
        return str(sorted(described(part, deep) for part in value))
    if isinstance(value, property):
        return described([value.fget, value.fset], deep, seen)
    if isinstance(value, staticmethod | classmethod):
        return described(value.__func__, deep, seen)
    if isinstance(value, FunctionType) and not is_installed(value):
        return function_code(value, deep, seen)
    if not isinstance(value, type) and hasattr(value, "__wrapped__"):
        return described(_decorated(value), deep, seen)
    if isinstance(value, MethodType):
        return described([value.__func__, value.__self__ if deep else None], deep, seen)
    if isinstance(value, type | FunctionType | ModuleType):
        name = f"{getattr(value, '__module__', '')}.{value.__name__}"
        if deep and isinstance(value, type) and not is_installed(value):
            return f"{name}: {class_code(value, deep, seen)}"
        return name if deep else value.__name__
    if not deep:
        return getattr(value, "__name__", type(value).__name__)
    return _content(value, seen)


def _decorated(value: Any) -> list[Any]:
    """What a library's decorator keeps of a function that may be yours: itself, and its options.

    torch.no_grad, torch.autocast and functools.cache are such decorators.
    """
    enclosed = getattr(value, "__closure__", None) or ()
    return [value.__wrapped__, *[_enclosed(cell) for cell in enclosed]]


def _content(value: Any, seen: Seen) -> str:
    """An object by what pickle would store of it: how it's made, and its attributes."""
    try:
        recipe = value.__reduce_ex__(4)
    except Exception as error:  # open files, generators and the like refuse in ways of their own
        raise NotDescribed(f"an object of the type {type(value).__name__}") from error
    if isinstance(recipe, str):  # something that is found by its name
        return f"{getattr(value, '__module__', '')}.{recipe}"
    # What makes it, the arguments of that, its attributes, and what's in it if it's a container.
    parts = [_listed(part) for part in recipe]
    return described(parts, True, seen)


def _listed(part: Any) -> Any:
    """What an iterator yields, as a list; anything else as it is."""
    return list(part) if isinstance(part, Iterator) else part


def function_code(function: FunctionType, deep: bool = False, seen: Seen | None = None) -> str:
    """The code of a function, and what it uses: defaults, enclosed values, globals of yours."""
    seen = {} if seen is None else seen
    compiled = function.__code__
    try:
        code = without_comments(textwrap.dedent(inspect.getsource(compiled)))
    except (OSError, tokenize.TokenError, SyntaxError):  # made by exec, or a lambda in mid-line
        code = _instructions(compiled, function.__doc__)
    # Spaces are gone. The function's own name doesn't matter: the class may use another.
    parts = [code.replace(f"def{function.__name__}(", "def(", 1)]
    if deep:  # a file that was edited, but not imported again, isn't what is computed
        parts.append(_instructions(compiled, function.__doc__))
        parts.append(described(function.__kwdefaults__, deep, seen))
        parts.append(described(vars(function), deep, seen))
    parts.append(described(list(function.__defaults__ or ()), deep, seen))
    for cell in function.__closure__ or ():
        parts.append(described(_enclosed(cell), deep, seen))
    if deep:
        for name in _imported_names(compiled):
            for path, found in _used_of(_imported(name), name, _names(compiled)):
                parts.append(f"{path} = {described(found, deep, seen)}")
    for name in _global_names(compiled):
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        if isinstance(value, SIMPLE) or isinstance(value, FunctionType) or deep:
            parts.append(f"{name} = {described(value, deep, seen)}")
        if deep and isinstance(value, ModuleType):
            for path, found in _used_of(value, name, _names(compiled)):
                parts.append(f"{path} = {described(found, deep, seen)}")
    return "\n".join(parts)


def _imported(name: str) -> ModuleType:
    """The module of this name. Raises NotDescribed for one that hasn't been imported so far."""
    if name not in sys.modules:  # it's relative, or what's in it will be known only later
        raise NotDescribed(f"the module {name!r}, which a function imports while it runs")
    return sys.modules[name]


def _used_of(module: ModuleType, path: str, names: set[str]) -> Iterator[tuple[str, Any]]:
    """What code that uses these names may use of a module of yours, and of modules in it.

    path: of the module, such as "nets.blocks". Each member comes with its own.
    """
    if is_installed(module):
        return
    for member in sorted(names & set(vars(module))):
        found = vars(module)[member]
        yield f"{path}.{member}", found
        if isinstance(found, ModuleType):  # without this name: modules may hold each other
            yield from _used_of(found, f"{path}.{member}", names - {member})


def _enclosed(cell: Any) -> Any:
    """What a function encloses; None if that isn't defined yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def _codes(compiled: CodeType) -> Iterator[CodeType]:
    """A function's compiled code, and that of the functions and comprehensions inside it."""
    yield compiled
    for constant in compiled.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _global_names(compiled: CodeType) -> list[str]:
    """The global variables that a function reads, in order of first use."""
    names: dict[str, None] = {}
    for code in _codes(compiled):
        for instruction in dis.get_instructions(code):
            if instruction.opname in GLOBAL:
                names[instruction.argval] = None
    return list(names)


def _imported_names(compiled: CodeType) -> list[str]:
    """The modules that a function imports when it's called, as `import` names them."""
    names = []
    for code in _codes(compiled):
        for instruction in dis.get_instructions(code):
            if instruction.opname == "IMPORT_NAME":
                names.append(instruction.argval)
    return names


def _names(compiled: CodeType) -> set[str]:
    """All names that a function uses: of global variables and of attributes."""
    names = set()
    for code in _codes(compiled):
        names.update(code.co_names)
    return names


def _instructions(compiled: CodeType, docstring: str | None) -> str:
    """What a function does, as Python has compiled it; another version compiles differently."""
    parts = []
    for code in _codes(compiled):
        constants = []
        for constant in code.co_consts:
            if not isinstance(constant, CodeType) and constant != docstring:
                constants.append(described(constant, deep=True))
        parts.append(f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {constants}")
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
