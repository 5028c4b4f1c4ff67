"""What a stage's numbers depend on, as short texts that can be stored and compared.

They are made here, of a network, of images and of the code; `storage/identity.py` compares them.
"""

from __future__ import annotations

import functools
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from PIL import __version__ as pillow_version
from PIL import features
from torch import nn

from .distributed import ranks
from .model import eval_mode
from .sources import (
    NotDescribed,
    class_code,
    described,
    is_yours,
    replaced,
    without_comments,
)
from .storage.checkpoints import digest_of
from .storage.files import content_digest
from .storage.identity import weights_digest

if TYPE_CHECKING:
    from .data.bank import Images
    from .experiment import Course
    from .stage import Stage

LIBRARY = Path(__file__).resolve().parent
# What computes a history, besides the data, the settings and the network. After an edit of one of
# these files, trials are trained again, and a stage that resumes says that they have changed.
TRAINING_CODE = (
    "augment.py",
    "device.py",
    "distributed.py",
    "generators.py",
    "loops.py",
    "model.py",
    "overflow.py",
    "position.py",
    "run.py",
    "data/draws.py",
)

STEP = 0x9E3779B97F4A7C  # even, so that the weights in `measured_on` are odd
UNKNOWN = "unknown"  # stands for the digest of what can't be described
PYTORCHS_OWN = tuple(vars(nn.Module()))  # attributes that all modules have


def stage_identity(
    stage: Stage,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: Images,
    augmented: bool,
    heldout: Images | None = None,
) -> dict[str, Any]:
    """Everything a stage's numbers depend on: the course's identity, and what `train` was given.

    A schedule depends on the number of epochs, too. "details" may change while the stage is
    trained; the others may not.
    """
    course = stage.course
    scheduled_for = None
    if course.settings.schedule != "constant":
        scheduled_for = f"{stage.epochs} epochs"
    return course.identity | {
        "stage": stage.spec.title,
        "model": model_identity(model),
        "details": model_details(model),
        "starts from": weights_digest(model.state_dict()),
        "optimizer": optimizer_identity(optimizer),
        "images": images_identity(images),
        "pixels": images.content_digest(),
        "held-out images": images_identity(heldout) if heldout else None,
        "held-out pixels": heldout.content_digest() if heldout else None,
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
    """The model's class and number of parameters, and digests of its layers and your own code.

    What modules of your own keep as attributes isn't part of it, since training may change them:
    see `model_details`.
    """
    parameters = sum(parameter.numel() for parameter in model.parameters())
    layers = [repr(model)]
    own_code = {}
    for name, module in model.named_modules():
        kind = type(module)
        if is_yours(kind):
            own_code[kind.__name__] = _short_digest(class_code(kind))
        else:
            layers.append(f"{name}: {_attributes(module)}")  # also options that `repr` leaves out
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            layers.append(f"{name} is frozen")
    digests = [f"layers {_short_digest(*layers)}"]
    digests += [f"{name} {digest}" for name, digest in sorted(own_code.items())]
    return f"{type(model).__name__} with {parameters:,} parameters ({', '.join(digests)})"


def model_details(model: nn.Module) -> dict[str, str]:
    """Digests of what a network computes with, besides weights and layers: {what: digest}.

    That's its modules' attributes and hooks, and its own code with all that this uses. What can't
    be described is UNKNOWN. "python" is the version, because others compile the code differently.
    """
    # What an attribute says of the network itself is known already.
    network = [*model.modules(), *model.parameters(), *model.buffers()]
    details = {"python": ".".join(platform.python_version_tuple()[:2])}

    def describe(what: str, value: Any) -> None:
        seen = {id(part): part for part in network}
        try:
            details[what] = _short_digest(described(value, deep=True, seen=seen))
        except NotDescribed as error:
            details[what] = f"{UNKNOWN}: {error}"

    for name, module in model.named_modules():
        place = name or "the network"
        if is_yours(type(module)):
            describe(f"the code of {type(module).__name__}", type(module))
        for attribute, value in sorted(vars(module).items()):
            if "hooks" in attribute and isinstance(value, dict) and value:
                describe(f"{attribute.strip('_')} of {place}", list(value.values()))
            elif attribute not in PYTORCHS_OWN:
                describe(f"{attribute} of {place}", value)
    for name, parameter in model.named_parameters():
        for hooks in (parameter._backward_hooks, parameter._post_accumulate_grad_hooks):
            if hooks:
                describe(f"hooks of {name}", list(hooks.values()))
    return details


def new_model_identity(model: nn.Module) -> str:
    """A digest of all that's known of a model before it's trained, attributes and buffers, too.

    Raises NotDescribed if nobody can tell whether the model is the same as another.
    """
    details = model_details(model)
    for what, digest in details.items():
        if digest.startswith(UNKNOWN):
            raise NotDescribed(f"{what} is {digest.removeprefix(UNKNOWN + ': ')}")
    parts = [model_identity(model), weights_digest(model.state_dict())]
    parts.append(weights_digest(dict(model.named_buffers())))  # also those that aren't saved
    del details["python"]  # the code says so itself
    parts.append(repr(details))
    return _short_digest(*parts)


def architecture(model: nn.Module) -> str:
    """A digest of all that's known of a new model but its weights, which depend on the seed."""
    details = model_details(model)
    del details["python"]  # the code says so itself
    return _short_digest(model_identity(model), repr(details))


@functools.cache
def training_code_digest() -> str:
    """A digest of the files in TRAINING_CODE as they were imported."""
    return _digest_of_files()


def training_code_has_changed() -> bool:
    """Whether what trains may be something else than these files were when they were imported.

    One was edited, and autoreload may have imported it again; or a function that they define or use
    was replaced, as by `loops.learning_rate = mine` or `F.cross_entropy = mine`.
    """
    if _digest_of_files() != training_code_digest():
        return True
    modules = []
    for name in TRAINING_CODE:
        dotted = name.removesuffix(".py").replace("/", ".")
        modules.append(sys.modules[f"{__package__}.{dotted}"])
    return replaced(modules)


def _digest_of_files() -> str:
    """A digest of the files in TRAINING_CODE, without comments and docstrings."""
    code = []
    for name in TRAINING_CODE:
        code.append(without_comments((LIBRARY / name).read_text(encoding="utf-8")))
    return _short_digest(*code)


def answers(model: nn.Module, course: Course) -> torch.Tensor:
    """What a model answers in eval mode to two made-up pictures: float32 (2, classes) on the CPU.

    With the same weights, a different answer means that something in the network was edited.
    """
    size = course.settings.size
    pictures = torch.linspace(-1, 1, 2 * 3 * size * size).reshape(2, 3, size, size)
    with eval_mode(model), torch.inference_mode():
        logits = model(pictures.to(course.device)).float().cpu()
    return logits.clone()  # autograd refuses tensors that were made in inference mode


def same_answers(before: torch.Tensor, now: torch.Tensor) -> bool:
    """Whether two results of `answers` agree, but for how devices round."""
    tolerance = 0.01 * before.abs().max().item()
    return now.shape == before.shape and torch.allclose(now, before, rtol=0, atol=tolerance)


def measured_on(model: nn.Module, images: Images, augmented: bool, course: Course) -> str:
    """A digest of what an evaluation depends on, quick enough for each of them.

    The bits of each tensor are added up as whole numbers, each weighted by its position, which is
    exact on every device. What the network answers tells whether anything else was edited. Only for
    comparisons within one session: `weights_digest` is the one to store.
    """
    whole_numbers = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    sums = []
    for value in model.state_dict().values():
        bits = value.detach().contiguous().view(whole_numbers[value.element_size()]).flatten()
        # Odd weights, so that no bit of a product is lost when it overflows 64 bits.
        weights = torch.arange(len(bits), device=bits.device) * STEP + 1
        sums.append((bits * weights).sum())
    pixels = images.rows.tolist()  # of the course's own bank, which is part of its identity
    if images.pixels is not course.data.train.pixels:
        pixels = images.content_digest()
    return content_digest(
        [
            course.identity,
            course.precision.name,
            images_identity(images),
            pixels,
            augmented,
            torch.stack(sums).tolist(),
            weights_digest({"answers": answers(model, course)}),
        ]
    )


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


def _attributes(module: nn.Module) -> str:
    """The values that a module keeps under public names, such as `self.scale = 0.1`."""
    attributes = []
    for name, value in sorted(vars(module).items()):
        if name != "training" and not name.startswith("_"):
            attributes.append(f"{name} = {described(value)}")
    return ", ".join(attributes)


training_code_digest()  # now: whoever edits a file while it's running, runs the old code
