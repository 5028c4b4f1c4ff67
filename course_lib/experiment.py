"""The experiment: its settings and presets, and a course, which is one run of it with its data,
folder and stages."""

import json
import os
import re
import shutil
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch

from .data.bank import Bank, open_data
from .device import Precision, best_device, choose_precision, computes_in
from .distributed import join, rank, rank_0_first
from .errors import SettingsError
from .storage.checkpoints import newest_first, position
from .storage.drive import Drive, drive_copy, mount
from .storage.files import drive_root, require_mounted, write_json
from .storage.identity import read_run, require_ours

CHECKOUT = Path(__file__).resolve().parent.parent
VARIABLES = [
    f"COURSE_{name}" for name in ("DATA", "PRESET", "HOME", "SEED", "SIZE", "EPOCHS", "PRECISION")
]


@dataclass(frozen=True)
class Settings:
    """Everything a run's numbers depend on, besides the data: all of it is part of the run's
    identity.

    The defaults are the report's (1.E, 3.A).
    """

    size: int  # side of the images, in pixels
    images_per_class: tuple  # of generated data: (training, held-out)
    seed: int = 0
    precision: str = "auto"
    batch_size: int = 32
    lr: float = 0.01
    schedule: str = "constant"  # or "one-cycle": see `loops.learning_rate`
    momentum: float = 0.9
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    # the smallest crop of an augmented image, as a share; 1 only cuts off what's beyond 4:3
    crop: float = 0.08
    flips: tuple = (
        0.5,
        0.5,
    )  # probabilities that an augmented image is flipped horizontally, vertically
    degrees: float = 90.0  # the largest rotation in either direction
    plain: float = 0.0  # the share of images in an augmented epoch that stay plain
    sync_batch_norm: bool = (
        False  # on several GPUs: normalise over the whole batch, not over each GPU's share
    )

    def __post_init__(self):
        for name, value in vars(self).items():
            plain = np.asarray(
                value
            ).tolist()  # a checkpoint with a number of NumPy's in it couldn't be loaded
            object.__setattr__(self, name, tuple(plain) if isinstance(plain, list) else plain)
        if self.size < 32:
            raise SettingsError(
                f"COURSE_SIZE is {self.size}: the model halves images five times, so use at least 32."
            )
        if not 0 <= self.seed < 2**63:
            raise SettingsError(
                f"COURSE_SEED is {self.seed}: use a whole number from 0 to 2⁶³ − 1."
            )
        if self.batch_size < 1:
            raise SettingsError(f"The batch size is {self.batch_size}: use at least 1.")


# Settings, and the epochs of each stage. These aren't part of the identity: a finished stage can be
# trained further.
PRESETS = {
    "smoke": (Settings(size=32, images_per_class=(2, 1)), {1: 1, 2: 1, 3: 1}),  # seconds, for tests
    "lecture": (
        Settings(size=64, images_per_class=(8, 8)),
        {1: 40, 2: 44, 3: 30},
    ),  # minutes on a CPU
    "full": (
        Settings(size=224, images_per_class=(500, 50)),
        {1: 30, 2: 30, 3: 50},
    ),  # the report's numbers
}


@dataclass(frozen=True)
class Course:
    """One run of the experiment. `open_course` makes it, and most functions take it as an
    argument."""

    data: Bank  # the images
    preset: str
    settings: Settings
    epochs: dict  # stage → how many
    device: torch.device
    precision: Precision
    home: Path  # the folder of all runs, image banks and downloads, on a local disk
    folder: Path  # this run's folder
    source: str  # the name or path that the data was opened with
    drive: Drive | None = None  # the copy of this run's folder on Google Drive

    @property
    def identity(self):
        """What makes this run different from all others: all its settings, and the data's names,
        labels and content."""
        return {
            "data": {"name": self.data.name, "digest": self.data.digest},
            "settings": asdict(self.settings),
        }

    def claim(self):
        """Claim the run's folder and return its `run.json`. Raises CheckpointError if it belongs to
        another run."""
        record = read_run(self.folder, self.identity)
        if not record or not any(
            self.stage(number).state for number in self.epochs
        ):  # the GPU may have come later
            record = {"identity": self.identity, "precision": self.precision.name}
            write_json(self.folder / "run.json", record)
        return record

    def stage(self, number):
        """Stage 1, 2 or 3 of the experiment (report 3)."""
        return Stage(self, number, self.folder / f"stage-{number}", self.epochs[number])

    def experiment(self, name, **changes):
        """Your own experiment: a separate run with other settings, as in
        `course.experiment("lr-0.1", lr=0.1)`.

        changes: fields of Settings, and `epochs` for all stages. Returns a Course, which has a
        folder of its own.
        """
        epochs = (
            dict.fromkeys(self.epochs, changes.pop("epochs"))
            if "epochs" in changes
            else self.epochs
        )
        settings = replace(self.settings, **changes)
        precision = (
            choose_precision(self.device, settings.precision)
            if "precision" in changes
            else self.precision
        )
        folder = self.folder.with_name(f"{self.folder.name}-{name}")
        course = replace(self, settings=settings, epochs=epochs, precision=precision, folder=folder)
        with rank_0_first():
            if {"size", "seed", "images_per_class"} & {
                *changes
            }:  # otherwise, it's the same data, come what may
                course = replace(course, data=open_data(self.source, settings, self.home))
            return _begin(course, self.drive and self.drive.remote.parent)

    def start_over(self):
        """Delete everything this run has saved, here and on Drive."""
        self.forget(self.folder)
        self.claim()

    def forget(self, folder):
        """Delete a folder of this run, here and on Drive."""
        with rank_0_first():
            if self.drive:
                self.drive.forget(folder)
            elif folder.exists() and not rank():
                shutil.rmtree(folder)

    def leave_drive(self):
        """Wait until Drive has everything, of experiments too, then unmount it, before you close
        the runtime."""
        copies = [
            copy
            for copy in Drive.opened
            if self.drive and copy.remote.parent == self.drive.remote.parent
        ]
        if not all([copy.wait() for copy in copies]):
            print(
                "Drive doesn't have everything yet. Before you close the runtime, run this again."
            )
        elif copies and "google.colab" in sys.modules:
            from google.colab import drive

            for copy in copies:
                copy.leave()
            drive.flush_and_unmount()
            print(
                "Everything is on Drive, and Drive is unmounted. To mount it again, restart the runtime."
            )

    def shown(self, path):
        """A path inside `home` as it's printed, without naming your machine:
        "runs/shapes-lecture"."""
        return str(Path(self.home.name, Path(path).relative_to(self.home)))

    def describe(self):
        """The run in two lines: data, settings and device; then its folder and the state of each
        stage."""
        places = self.shown(self.folder) + (
            f", copied to {self.drive.remote}" if self.drive else ""
        )
        stages = [
            f"stage {number}: {state}"
            for number in self.epochs
            if (state := self.stage(number).state)
        ]
        return (
            f"{self.data.name}, preset {self.preset}: {self.settings.size} × {self.settings.size} pixels, seed "
            f"{self.settings.seed}, on {self.device.type} in {self.precision.name}\n"
            f"{places} – {', '.join(stages) or 'nothing trained yet'}"
        )


@dataclass(frozen=True)
class Stage:
    """A stage of a course: its number, its folder (checkpoints and `model.pth`) and how many epochs
    it takes."""

    course: Course
    number: int
    folder: Path
    epochs: int

    @property
    def model_path(self):
        """Where the finished stage leaves its weights, as the report's code loads them."""
        return self.folder / "model.pth"

    @property
    def state(self):
        """How far the stage has got, in words; None if it hasn't begun."""
        epoch, images = next(map(position, newest_first(self.folder)), (0, 0))
        if epoch >= self.epochs and not images:
            return "finished"
        return (
            f"in epoch {epoch + 1} of {self.epochs}, after {images:,} images"
            if epoch or images
            else None
        )

    def start_over(self):
        """Delete what this stage has saved, here and on Drive; its cell then trains from
        scratch."""
        self.course.forget(self.folder)
        print(f"Stage {self.number} starts over.")


def open_course(data="shapes", preset="lecture", drive=False):
    """Open a run of the experiment with the settings of a notebook's form; the environment
    (`COURSE_…`) wins.

    data: a name in `data_manifest.json`, or the path of a folder or archive in the report's layout.
    preset: "smoke", "lecture" or "full". drive: keep a copy of the run on Google Drive; Colab asks
    for permission. A COURSE_HOME on a mounted Drive does the same. Raises SettingsError, DataError,
    or CheckpointError if the folder is another run's.
    """
    for stream in (sys.stdout, sys.stderr):
        if hasattr(
            stream, "reconfigure"
        ):  # a Korean or Western Windows console lacks some characters
            stream.reconfigure(errors="replace")
    if unknown := {name for name in os.environ if name.startswith("COURSE_")} - {*VARIABLES}:
        raise SettingsError(
            f"There is no setting {', '.join(unknown)}; the settings are {', '.join(VARIABLES)}."
        )
    preset = _setting("PRESET", preset)
    if preset not in PRESETS:
        raise SettingsError(f"The preset (COURSE_PRESET) is {preset!r}; use {', '.join(PRESETS)}.")
    settings, epochs = PRESETS[preset]
    wanted = {
        name: _setting(name.upper(), getattr(settings, name))
        for name in ("seed", "size", "precision")
    }
    settings = replace(settings, **wanted)
    epochs = epochs | {
        number: _setting("EPOCHS", epochs[number]) for number in (2, 3)
    }  # stage 1 is a check
    join(settings.batch_size)  # the other processes, if `torchrun` started several
    device = best_device()
    precision = choose_precision(device, settings.precision)
    home, remote = _homes(_setting("HOME", ""), drive)
    source = _setting("DATA", data)
    with rank_0_first():
        bank = open_data(source, settings, home)
        folder = home / _folder_name(bank.name, preset, settings)
        return _begin(
            Course(bank, preset, settings, epochs, device, precision, home, folder, source), remote
        )


def _setting(name, default):
    """The variable COURSE_<name>, or the default if it's empty; a whole number if the default is
    one."""
    text = os.environ.get(f"COURSE_{name}") or default
    if isinstance(default, int) and not (str(text).isdecimal() and (int(text) or name == "SEED")):
        raise SettingsError(f"COURSE_{name} is {text!r}: use a whole number (0 only for the seed).")
    return type(default)(text)


def _homes(wanted, drive):
    """The folder of all runs on the local disk, and the one on Google Drive, if the run is copied
    there."""
    installed = not (CHECKOUT / "pyproject.toml").exists()
    home = (Path.cwd() if installed or drive_root(CHECKOUT) else CHECKOUT) / "runs"
    wanted = Path(wanted).expanduser().resolve() if wanted else home
    if drive_root(wanted):
        require_mounted(wanted)
        return home, wanted
    return wanted, mount() / "runs" if drive else None


def _folder_name(data_name, preset, settings):
    """`<data>-<preset>` and everything that differs from the preset: "tiny80-full-64px",
    "shapes-lecture-seed1"."""
    changed = {
        name: value
        for name, value in vars(settings).items()
        if value != getattr(PRESETS[preset][0], name)
    }
    parts = [
        {"size": f"{value}px", "precision": value}.get(name, f"{name}{value}")
        for name, value in changed.items()
    ]
    return re.sub(r"[^\w.+-]+", "_", "-".join([data_name, preset, *parts]))


def _begin(course, runs_on_drive):
    """The course with its copy on Drive, if there is one, restored from it and in the precision it
    began in."""
    require_ours(course.folder)
    if runs_on_drive and not rank():
        require_ours(remote := runs_on_drive / course.folder.name)
        course = replace(
            course, drive=drive_copy(course.folder, remote, json.dumps(course.identity))
        )
        course.drive.restore()
    began = Precision(course.claim()["precision"], course.device.type)
    return replace(course, precision=began) if computes_in(course.device, began.name) else course
