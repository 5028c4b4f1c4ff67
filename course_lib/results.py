"""What a run measured, kept as `results.json`, and the table that sets it against the report's numbers."""

import json
import platform
import subprocess
from dataclasses import asdict

import torch
import torchvision

from .errors import DataError
from .files import result_file
from .loops import evaluate
from .workspace import REPOSITORY

_REPORT = {  # report 3: every figure is on training images; a dash where it gives none
    ("1", "train_plain"): "overfits",
    ("2", "train_plain"): "100 %",
    ("2", "train_augmented"): "50 %",
    ("3", "train_augmented"): "85 %",
}
_MEASURED_ON = {
    "train_plain": "training images, plain",
    "train_augmented": "training images, augmented",
    "heldout_plain": "held-out images ({}), plain",
}


def measure(model, bank, course):
    """The three final figures of a stage, all in eval mode and each said with what it was measured on and how many
    images.

    Returns {"train_plain" | "train_augmented" | "heldout_plain": Measured}.
    """
    return {
        "train_plain": evaluate(model, bank.train, course),
        "train_augmented": evaluate(model, bank.train, course, augmented=True),
        "heldout_plain": evaluate(model, bank.heldout, course),
    }


def read_results(course):
    """The run's `results.json`, or an empty record where there is none yet. Raises DataError where it is damaged."""
    path = course.folder / "results.json"
    if not path.exists():
        return {"stages": {}}
    try:
        results = json.loads(path.read_bytes())
        results["stages"].items()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DataError(
            f"{course.shown(path)} is damaged ({error!r}). Delete it: running the notebooks again writes it anew "
            "from the checkpoints."
        ) from error
    return results


def record(course, bank, stage_number, history, final):
    """Add a stage to `results.json`. history: of `train`. final: as of `measure`. Returns all
    results."""
    results = read_results(course) | {
        "data": {
            "name": bank.name,
            "classes": len(bank.classes),
            "train": len(bank.train),
            "heldout": len(bank.heldout),
            "split": bank.split,
        },
        "preset": course.preset,
        "seed": course.settings.seed,
        "settings": asdict(course.settings),
        "device": device_name(course.device),
        "precision": course.precision.name,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "commit": _commit(),
    }
    results["stages"][str(stage_number)] = {
        "epochs": history,
        "planned": course.stage(stage_number).epochs,
        "final": {name: figure.accuracy for name, figure in final.items()},
        "measured_on": {
            name: f"{figure.images:,} {_MEASURED_ON[name].format(bank.split)}, eval mode"
            for name, figure in final.items()
        },
    }
    _write(course, "results.json", json.dumps(results, indent=1, ensure_ascii=False) + "\n")
    return results


def measured_once(course, name, measurements):
    """{label: what its measurement returned}, kept as `name`.json in the run's folder and shown again from there.

    measurements: {label: a function without arguments that returns what JSON can hold}.
    Measured anew where the run's settings, data or precision have changed, or the file is damaged.
    """
    path = course.folder / f"{name}.json"
    made_with = json.loads(json.dumps([course.data, asdict(course.settings), course.precision.name]))
    try:
        kept = json.loads(path.read_bytes())
        if kept["made_with"] == made_with:
            return kept["measured"]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # not measured yet, or not whole: measuring is the remedy
    measured = {label: measurement() for label, measurement in measurements.items()}
    _write(course, path.name, json.dumps({"made_with": made_with, "measured": measured}))
    return measured


def _write(course, name, text):
    with result_file(course.folder / name, "w", encoding="utf-8", newline="") as file:
        file.write(text)


def device_name(device):
    """What the device is called by its maker, as far as PyTorch knows."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def _commit():
    """The repository's commit, or None where it is not a git checkout."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(REPOSITORY), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def table(results):
    """The report's numbers against this run's, as a Markdown table that also reads well as plain text."""
    rows = [("stage", "report", "this run", "measured on")]
    for number, stage in sorted(results["stages"].items()):
        done, planned = len(stage["epochs"]), stage["planned"]
        label = f"{number}, {done} epochs" + (f" of {planned}" if done < planned else "")
        for name, accuracy in stage["final"].items():
            rows.append((label, _REPORT.get((number, name), "–"), f"{accuracy:.1%}", stage["measured_on"][name]))
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows)
