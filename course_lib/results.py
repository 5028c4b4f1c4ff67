"""What a run measured, in `results.json`, and the table that compares it with the report's numbers."""

import json
import platform
import subprocess
import tempfile
from dataclasses import asdict, replace

import torch
import torchvision

from .experiment import CHECKOUT
from .loops import evaluate, train
from .model import MyModel, get_model
from .storage.checkpoints import digest_of
from .storage.files import write_text
from .storage.identity import images_digest, weights_digest

REPORT = {  # report 3: all its figures are on training images
    ("1", "train_plain"): "overfits",
    ("2", "train_plain"): "100 %",
    ("2", "train_augmented"): "50 %",
    ("3", "train_augmented"): "85 %",
}
MEASURED_ON = {
    "train_plain": "training images, plain",
    "train_augmented": "training images, augmented",
    "heldout_plain": "held-out images ({}), plain",
}


def measure(model, course):
    """A stage's final figures, in eval mode: {"train_plain", "train_augmented", "heldout_plain": Measured}."""
    return {
        "train_plain": evaluate(model, course.data.train, course),
        "train_augmented": evaluate(model, course.data.train, course, augmented=True),
        "heldout_plain": evaluate(model, course.data.heldout, course),
    }


def record(stage, model, history, final):
    """Keep what a stage measured; returns the content of `results.json` with all stages that belong together.

    model: the stage's finished model. history: from `train`. final: from `measure`.
    """
    course, before = stage.course, stage.course.stage(2).model_path
    measured = {
        "epochs": history,
        "final": {name: figure.accuracy for name, figure in final.items()},
        "measured_on": {
            name: f"{figure.images:,} {MEASURED_ON[name].format(course.data.split)}, eval mode"
            for name, figure in final.items()
        },
        "model": weights_digest(model.state_dict()),
        "starts_from": weights_digest(torch.load(before, weights_only=True)) if stage.number == 3 else None,
    }
    _write(stage.folder / "measured.json", measured)
    results = read_results(course)
    _write(course.folder / "results.json", results)
    return results


def read_results(course):
    """The content of `results.json`, from what each stage measured."""
    paths = {str(number): course.stage(number).folder / "measured.json" for number in course.epochs}
    stages = {number: _read(path) for number, path in paths.items() if path.exists()}
    if "2" in stages and stages.get("3", {}).get("starts_from", stages["2"]["model"]) != stages["2"]["model"]:
        print("Stage 3 was trained from an earlier stage 2, so it's left out: course.stage(3).start_over()")
        del stages["3"]
    data = course.data
    return {
        "data": {"name": data.name, "train": len(data.train), "heldout": len(data.heldout), "split": data.split},
        "preset": course.preset,
        "seed": course.settings.seed,
        "settings": asdict(course.settings),
        "device": torch.cuda.get_device_name() if course.device.type == "cuda" else course.device.type,
        "threads": torch.get_num_threads(),
        "precision": course.precision.name,
        "versions": {"python": platform.python_version()} | {m.__name__: m.__version__ for m in (torch, torchvision)},
        "commit": _commit(),
        "stages": stages,
    }


def trial(course, images, *, epochs, model=None, **changes):
    """Train a new model briefly with other settings, `trial(course, five, epochs=4, lr=0.1)`; returns the history.

    model: a new model to use instead of the report's. changes: fields of Settings. The history is kept in `trials/`,
    in a file whose name depends on everything it was measured with, and is read from there the next time.
    """
    model = model or get_model(MyModel, seed=course.settings.seed)
    with tempfile.TemporaryDirectory() as scratch:
        attempt = replace(course.experiment("attempt", scratch, epochs=epochs, **changes), drive=None)
        key = [attempt.identity, attempt.precision.name, epochs, images_digest(images)]
        key.append(weights_digest(model.state_dict()))
        path = course.folder / "trials" / f"{digest_of(json.dumps(key).encode())}.json"
        if not path.exists():
            _write(path, train(model, images, attempt.stage(1), augmented=False))
    return _read(path)


def table(results):
    """The report's numbers beside this run's, as a Markdown table that also reads well as plain text."""
    rows = [("stage", "report", "this run", "measured on")]
    for number, stage in sorted(results["stages"].items()):
        for name, accuracy in stage["final"].items():
            label, reported = f"{number}, {len(stage['epochs'])} epochs", REPORT.get((number, name), "–")
            rows.append((label, reported, f"{accuracy:.1%}", stage["measured_on"][name]))
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows)


def _commit():
    """The checkout's commit, or None outside a checkout."""
    try:
        command = ["git", "-C", str(CHECKOUT), "rev-parse", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip() or None
    except (OSError, subprocess.TimeoutExpired):
        return None


def _read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def _write(path, value):
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")
