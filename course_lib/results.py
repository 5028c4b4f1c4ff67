"""What a run measured, in `results.json`, and the table that compares it with the report's
numbers."""

import json
import platform
import subprocess
from contextlib import suppress
from dataclasses import asdict, replace
from types import SimpleNamespace

import torch
import torchvision

from .device import choose_precision
from .distributed import rank_0_first
from .errors import CheckpointError
from .experiment import CHECKOUT
from .loops import evaluate, train
from .model import MyModel, get_model
from .storage.checkpoints import digest_of, load, newest_first, newest_good
from .storage.files import write_json
from .storage.identity import code_digest, images_digest, model_identity, weights_digest

REPORT = {  # report 3: all its figures are on training images
    ("1", "train_plain"): "overfits",
    ("2", "train_plain"): "100%",
    ("2", "train_augmented"): "50%",
    ("3", "train_augmented"): "85%",
}
MEASURED_ON = {
    "train_plain": "{:,} training images, plain, eval mode",
    "train_augmented": "{:,} training images, augmented, eval mode",
    "heldout_plain": "{:,} held-out images ({}), plain, eval mode",
}


def measure(model, course):
    """A stage's final figures, in eval mode: {"train_plain", "train_augmented", "heldout_plain":
    Measured}."""
    return {
        "train_plain": evaluate(model, course.data.train, course),
        "train_augmented": evaluate(model, course.data.train, course, augmented=True),
        "heldout_plain": evaluate(model, course.data.heldout, course),
    }


def record(stage, model, history, final):
    """Save what was measured on a stage; returns the content of `results.json` with all stages that
    belong together.

    model: the stage's finished model; any other raises CheckpointError. history: from `train`.
    final: from `measure`.
    """
    course, path, digest = (
        stage.course,
        newest_good(stage.folder),
        weights_digest(model.state_dict()),
    )
    state = load(path) if stage.state == "finished" else None
    if not state or weights_digest(state["model"]) != digest:
        raise CheckpointError(
            f"This isn't the finished model of stage {stage.number}. Run its training cell first."
        )
    measured = {
        "epochs": history,
        "final": {name: figure.accuracy for name, figure in final.items()},
        "measured_on": {
            name: MEASURED_ON[name].format(figure.images, course.data.split)
            for name, figure in final.items()
        },
        "checkpoint": path.name,
        "model": digest,
        "starts_from": state["identity"]["starts from"],
        "origin": state["position"]["origin"],  # of a model that was trained elsewhere
    }
    results = read_results(course, {str(stage.number): measured})
    write_json(course.folder / "results.json", results)
    return results


def read_results(course, measured=None):
    """`results.json`, without stages that were trained again since. measured: new ones to add,
    {"2": …}."""
    data, path, stages = course.data, course.folder / "results.json", {}
    known = json.loads(path.read_bytes())["stages"] if path.exists() else {}
    for number, stage in sorted((known | (measured or {})).items()):
        checkpoints = newest_first(course.stage(int(number)).folder)
        if not checkpoints or checkpoints[0].name != stage["checkpoint"]:
            print(
                f"Stage {number} has changed since it was measured, so it's left out. Run its notebook again."
            )
        elif (
            number == "3"
            and stages.get("2", {}).get("model", stage["starts_from"]) != stage["starts_from"]
        ):
            print(
                "Stage 3 was trained from an earlier stage 2, so it's left out. Run course.stage(3).start_over()."
            )
        else:
            stages[number] = stage
    return {
        "data": {
            "name": data.name,
            "train": len(data.train),
            "heldout": len(data.heldout),
            "split": data.split,
        },
        "preset": course.preset,
        "seed": course.settings.seed,
        "settings": asdict(course.settings),
        "device": torch.cuda.get_device_name()
        if course.device.type == "cuda"
        else course.device.type,
        "threads": torch.get_num_threads(),
        "precision": course.precision.name,
        "versions": {"python": platform.python_version()}
        | {m.__name__: m.__version__ for m in (torch, torchvision)},
        "commit": _commit(),
        "stages": stages,
    }


def trial(course, images, *, epochs, model=None, augmented=False, heldout=None, **changes):
    """Train a new model briefly with other settings, `trial(course, five, epochs=4, lr=0.1)`;
    returns the history.

    model: a new model to use instead of the report's. augmented, heldout: as in `train`. changes:
    fields of Settings. The history is kept in `trials/`, in a file whose name depends on everything
    that could change it, and is reused the next time. After ■ or a kill, the same call continues,
    as `train` does.
    """
    settings = replace(course.settings, **changes)
    precision = choose_precision(course.device, changes.get("precision", course.precision.name))
    attempt = replace(
        course, settings=settings, precision=precision, epochs={1: epochs}, drive=None
    )
    model = model or get_model(MyModel, seed=settings.seed)
    key = [attempt.identity, precision.name, epochs, augmented, images_digest(images)]
    key += [images_digest(heldout)] if heldout else []
    key += [
        model_identity(model),
        weights_digest(model.state_dict()),
        repr(model),
        code_digest(train),
    ]
    name = digest_of(json.dumps(key).encode())
    path, unfinished = (
        course.folder / "trials" / f"{name}.json",
        course.home / "unfinished-trials" / name,
    )
    if path.exists():
        return json.loads(path.read_bytes())
    stage, silent = (
        replace(attempt, folder=unfinished).stage(1),
        SimpleNamespace(show=lambda *args, **more: None),
    )
    history = train(model, images, stage, augmented=augmented, heldout=heldout, live=silent)
    with rank_0_first():  # or the others wouldn't find it the next time
        write_json(path, history)
    attempt.forget(unfinished)
    return history


def stored(course, name="results.json"):
    """The content of the file `name` in `results/` for the same data, preset and size, or None."""
    data, size = course.data, course.settings.size
    ours = data.name, len(data.train), len(data.heldout), course.preset, size
    for path in sorted((CHECKOUT / "results").glob(f"*/{name}")):
        results = json.loads(path.read_text(encoding="utf-8"))
        found = *(results["data"][key] for key in ("name", "train", "heldout")), results["preset"]
        if (*found, results.get("settings", {}).get("size", size)) == ours:
            return results
    return None


def table(results):
    """The report's numbers beside this run's, as a Markdown table that also reads well as plain
    text."""
    rows = [("stage", "report", "this run", "measured on")]
    for number, stage in sorted(results["stages"].items()):
        for name, accuracy in stage["final"].items():
            label, reported = (
                f"{number}, {len(stage['epochs']) or '?'} epochs",
                REPORT.get((number, name), "–"),
            )
            rows.append((label, reported, f"{accuracy:.1%}", stage["measured_on"][name]))
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
        for row in rows
    )


def _commit():
    """The checkout's commit, or None outside a checkout."""
    with suppress(OSError, subprocess.CalledProcessError):
        command = ["git", "-C", CHECKOUT, "rev-parse", "HEAD"]
        return subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL).strip()
