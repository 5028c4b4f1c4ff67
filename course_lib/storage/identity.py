"""A run's identity: the record that is compared before anything is loaded, copied or
overwritten."""

import hashlib
import json

import torch

from ..errors import CheckpointError
from .checkpoints import digest_of


def stage_identity(stage, model, optimizer, images, augmented):
    """Everything a stage's numbers depend on: the course's identity, and what `loops.train` was
    given.

    Stage 3 also depends on the model it starts from, the outcome of stage 2; a schedule, on the
    number of epochs.
    """
    course = stage.course
    # of parameters; options that are off are left out, since new PyTorch versions add some
    groups = {
        f"group {number}": {
            name: value for name, value in group.items() if value and name != "params"
        }
        for number, group in enumerate(optimizer.param_groups, 1)
    }
    return course.identity | {
        "stage": stage.number,
        "model": model_identity(model),
        "starts from": weights_digest(model.state_dict()) if stage.number == 3 else "a new model",
        "optimizer": {"name": type(optimizer).__name__} | groups,
        "images": images_digest(images),
        "augmented": augmented,
        "scheduled for": None
        if course.settings.schedule == "constant"
        else f"{course.epochs[stage.number]} epochs",
    }


def model_identity(model):
    """The model's class, its number of parameters, and your own modules in it, with a digest of
    what they compute."""
    parameters = sum(parameter.numel() for parameter in model.parameters())
    kinds = {type(module) for module in model.modules()}
    own = [kind for kind in kinds if not kind.__module__.startswith(("torch", "course_lib"))]
    described = sorted(f"{kind.__name__} ({code_digest(kind.forward)})" for kind in own)
    return ", ".join([f"{type(model).__name__} with {parameters:,} parameters", *described])


def code_digest(function):
    """A digest that changes if a function's code is edited, but not with its docstring or
    comments."""
    code = function.__code__
    constants = [
        value
        for value in code.co_consts
        if not hasattr(value, "co_code") and value != function.__doc__
    ]
    return digest_of(repr((code.co_code, code.co_names, constants)).encode())[:8]


def images_digest(images):
    """How many images these are, and a digest of their names and labels."""
    return f"{len(images)} ({digest_of(repr((images.names, images.labels.tolist())).encode())})"


def weights_digest(weights):
    """A digest of a state_dict's names, shapes and values: the same on every machine and for every
    file format."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        value = value.detach().cpu().contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy())
    return digest.hexdigest()[:16]


def read_run(folder, identity):
    """The content of `run.json` in a run's folder, or None. Raises CheckpointError if it's damaged
    or another run's."""
    path = folder / "run.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        found = record["identity"]
    except FileNotFoundError:
        return None
    except (ValueError, LookupError, TypeError) as error:
        raise CheckpointError(
            f"{path} is damaged. Nothing was changed. Delete it if the run is yours."
        ) from error
    expected = json.loads(json.dumps(identity))  # tuples are lists in JSON
    advice = "To keep both, use another COURSE_HOME or experiment name. To give up the old one, delete its folder."
    require_same(found, expected, folder, advice)
    return record


def require_ours(folder):
    """Raise CheckpointError if a run's folder has files in it, but none of a run's: `start_over`
    would delete them."""
    if (
        any(folder.glob("[!.]*"))
        and not any(folder.glob("run.json"))
        and not any(folder.glob("stage-*"))
    ):
        advice = "Rename it, or set COURSE_HOME to another folder."
        raise CheckpointError(
            f"{folder} isn't a run's folder: it contains files, but no run.json. {advice}"
        )


def require_same(found, expected, where, advice):
    """Raise CheckpointError that names all differences if `found`, the record of a run in `where`,
    isn't `expected`."""
    if differences := "; ".join(_differences(found, expected)):
        raise CheckpointError(
            f"{where} belongs to another run: {differences}. Nothing was changed. {advice}"
        )


def _differences(found, expected, name=""):
    """What differs between two records, in words: "settings lr is 0.1 there, 0.01 here"."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted({*found, *expected}):
            yield from _differences(found.get(key), expected.get(key), f"{name} {key}".strip())
    elif found != expected:
        yield f"{name} is {found} there, {expected} here"
