"""What a stage's numbers depend on, as short texts that can be stored and compared.

They are made here, of a network, of images and of the code; `storage/identity.py` compares them.
"""

from __future__ import annotations

import functools
import inspect
import io
import textwrap
import tokenize
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

import torch
from PIL import __version__ as pillow_version
from PIL import features
from torch import nn

from .distributed import ranks
from .model import eval_mode
from .storage.checkpoints import digest_of
from .storage.files import content_digest
from .storage.identity import weights_digest

if TYPE_CHECKING:
    from .data.bank import Images
    from .experiment import Course, Stage

LIBRARY = Path(__file__).resolve().parent
# What computes a history, besides the data, the settings and the network. After an edit of one of
# these files, trials are trained again, and a stage that resumes says that they have changed.
TRAINING_CODE = (
    "augment.py",
    "device.py",
    "distributed.py",
    "loops.py",
    "model.py",
    "run.py",
    "data/draws.py",
)
# Types of values that are written the same way on every computer.
SIMPLE = (bool, int, float, str, type(None))


def stage_identity(
    stage: Stage,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Images,
    augmented: bool,
) -> dict[str, Any]:
    """Everything a stage's numbers depend on: the course's identity, and what `train` was given.

    A schedule depends on the number of epochs, too.
    """
    course = stage.course
    scheduled_for = None
    if course.settings.schedule != "constant":
        scheduled_for = f"{stage.epochs} epochs"
    return course.identity | {
        "stage": stage.spec.title,
        "model": model_identity(model),
        "starts from": weights_digest(model.state_dict()),
        "optimizer": optimizer_identity(optimizer),
        "images": images_identity(images),
        "pixels": images.content_digest(),
        "augmented": augmented,
        "scheduled for": scheduled_for,
    }


def optimizer_identity(optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """The optimizer's class and options, without those that are off: new versions add more."""
    record: dict[str, Any] = {"name": type(optimizer).__name__}
    for number, group in enumerate(optimizer.param_groups, 1):
        options = {name: value for name, value in group.items() if value and name != "params"}
        record[f"group {number}"] = options
    return record


def images_identity(images: Images) -> str:
    """How many images these are, and a digest of their names and labels."""
    names_and_labels = repr((images.names, images.labels.tolist()))
    return f"{len(images)} ({digest_of(names_and_labels.encode())})"


def model_identity(model: nn.Module) -> str:
    """The model's class and number of parameters, and digests of its layers and your own code."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    layers = [repr(model)]  # with their options, such as a stride
    own_code = {}
    for name, module in model.named_modules():
        kind = type(module)  # one of your own, for example from a notebook?
        if not kind.__module__.startswith(("torch.", "course_lib.")):
            own_code[kind.__name__] = _short_digest(class_code(kind))
            layers.append(f"{name}: {_simple_attributes(module)}")
    described = [f"layers {_short_digest(*layers)}"]
    described += [f"{name} {digest}" for name, digest in sorted(own_code.items())]
    return f"{type(model).__name__} with {parameters:,} parameters ({', '.join(described)})"


def class_code(kind: type) -> str:
    """The code of a class's methods, without comments and docstrings.

    They are read one by one: before 3.13, Python can't find the source of a notebook's class.
    """
    parts = [kind.__name__]
    for name, value in sorted(vars(kind).items()):
        function = getattr(value, "__wrapped__", value)  # the function under a decorator
        if isinstance(function, FunctionType):
            parts.append(f"{name}: {function_code(function)}")
    return "\n".join(parts)


def function_code(function: FunctionType) -> str:
    """The code of a function, without comments and docstrings, and its default arguments."""
    try:
        source = textwrap.dedent(inspect.getsource(function))
        code = without_comments(source)
    except (OSError, tokenize.TokenError, SyntaxError):  # made by exec, or a lambda in mid-line
        code = function.__qualname__
    # Spaces are gone. The function's own name doesn't matter: the class may use another.
    code = code.replace(f"def{function.__name__}(", "def(", 1)
    defaults = [value for value in function.__defaults__ or () if isinstance(value, SIMPLE)]
    return f"{code} {defaults}"


@functools.cache
def training_code_digest() -> str:
    """A digest of the files in TRAINING_CODE, without comments and docstrings."""
    code = []
    for name in TRAINING_CODE:
        code.append(without_comments((LIBRARY / name).read_text(encoding="utf-8")))
    return _short_digest(*code)


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


def answers(model: nn.Module, course: Course) -> torch.Tensor:
    """What a model answers in eval mode to two made-up pictures: float32 (2, classes) on the CPU.

    With the same weights, a different answer means that something in the network was edited.
    """
    size = course.settings.size
    pictures = torch.linspace(-1, 1, 2 * 3 * size * size).reshape(2, 3, size, size)
    with eval_mode(model), torch.inference_mode():
        logits = model(pictures.to(course.device)).float().cpu()
    return logits.clone()  # autograd refuses tensors that were made in inference mode


def measured_on(model: nn.Module, course: Course) -> str:
    """A digest of a model's weights and a course, quick enough for every evaluation.

    The bits of each tensor are added up as whole numbers, which is exact on every device. Only for
    comparisons within one session: `weights_digest` is the one to store.
    """
    whole_numbers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    sums = []
    for value in model.state_dict().values():
        bits = value.detach().view(whole_numbers[value.element_size()])
        sums.append(bits.sum(dtype=torch.int64))
    return content_digest([course.identity, torch.stack(sums).tolist()])


def decoder() -> str:
    """What decodes the images: another version may give slightly different pixels."""
    return f"Pillow {pillow_version} with libjpeg {features.version('jpg')}"


def made_on(course: Course) -> dict[str, Any]:
    """What must agree, besides the threads, for a resumed run to be bit-identical on a CPU.

    On a GPU, it never is: sums are added up in a different order each time.
    """
    if course.device.type == "cuda":
        device = torch.cuda.get_device_name(course.device)
    else:
        device = f"{course.device.type} with {torch.backends.cpu.get_cpu_capability()}"
    return {
        "device": device,
        "precision": course.precision.name,
        "torch": torch.__version__.split("+")[0],
        "processes": ranks(),
        "decoder": decoder(),
        "course_lib": training_code_digest(),
    }


def _short_digest(*texts: str) -> str:
    """Eight hexadecimal digits that stand for some texts."""
    return digest_of("\n".join(texts).encode())[:8]


def _simple_attributes(module: nn.Module) -> dict[str, Any]:
    """The numbers and texts that a module of yours keeps, such as `self.scale = 0.1`."""
    attributes = {}
    for name, value in sorted(vars(module).items()):
        if isinstance(value, SIMPLE) and name != "training":
            attributes[name] = value
    return attributes
