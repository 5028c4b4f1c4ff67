"""Settings and places: everything a run needs to know, decided once, before anything is trained."""

import os
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from . import checkpoint
from .device import Precision, best_device, choose_precision, kept_precision, prepare
from .drive import Drive, drive_copy
from .errors import CheckpointError, DataError, SettingsError

REPOSITORY = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Settings:
    """What a run's numbers depend on. The presets are below; report 1.E and 3 give lr, momentum, batch size and
    epochs."""

    size: int  # side of the images, in pixels
    images_per_class: tuple  # generated data only: (training, held-out)
    epochs: dict  # stage → passes over its training images
    sweep_passes: int  # stage 1: passes for each setting that is tried
    lr: float = 0.01
    momentum: float = 0.9
    batch_size: int = 32
    seed: int = 0
    checkpoint_seconds: float = 120.0  # what a disconnect costs at most

    def __post_init__(self):
        if self.size < 32:
            raise SettingsError(
                f"COURSE_SIZE is {self.size}: the model halves an image five times, so take 32 pixels or more."
            )
        if not 0 <= self.seed < 2**63:
            raise SettingsError(f"COURSE_SEED is {self.seed}: take a whole number from 0 to 2⁶³ − 1.")
        if min(self.epochs.values()) < 1:
            raise SettingsError(f"COURSE_EPOCHS is {min(self.epochs.values())}: take 1 or more.")


PRESETS = {
    "smoke": dict(size=32, images_per_class=(2, 1), epochs={1: 2, 2: 1, 3: 1}, sweep_passes=1),
    "lecture": dict(size=64, images_per_class=(8, 8), epochs={1: 56, 2: 56, 3: 30}, sweep_passes=4),
    "full": dict(size=224, images_per_class=(500, 50), epochs={1: 30, 2: 30, 3: 50}, sweep_passes=10),
}


@dataclass(frozen=True)
class Course:
    """One run: its settings, device and folders. `open_course` makes it; everything else is handed it."""

    data: str  # a name of the manifest, or a path
    preset: str
    settings: Settings
    device: torch.device
    precision: Precision
    home: Path  # banks, generated data and the folders of all runs, on a local disk
    drive: Drive | None = None  # the copy of this run's folder on Google Drive

    @property
    def data_name(self):
        """The data set's short name: its name in the manifest, or the stem of its path."""
        return Path(self.data).name.split(".")[0]

    @property
    def folder(self):
        """Where this run's outcome goes: `home/<data>-<preset>/`."""
        return self.home / f"{self.data_name}-{self.preset}"

    def stage(self, number):
        """Stage 1, 2 or 3 of the experiment (report 3)."""
        return Stage(self, number, self.folder / f"stage-{number}", self.settings.epochs[number])

    def with_settings(self, **changes):
        """The same run with some settings changed, as in `course.with_settings(lr=0.1)`."""
        return replace(self, settings=replace(self.settings, **changes))

    def download(self, name):
        """Hand a file of the run's folder to the reader's browser, in Colab; elsewhere, say where it lies.

        name: relative to `folder`, as "result.csv" or "stage-2/model.pth". Raises DataError where it is not there yet.
        """
        path = self.folder / name
        if not path.exists():
            raise DataError(f"There is no {name} in {self.shown(self.folder)} yet: run the cells that write it first.")
        if "google.colab" in sys.modules:
            from google.colab import files

            files.download(str(path))
        else:
            print(f"The file is here: {self.shown(path)}")

    def leave_drive(self):
        """Wait until Drive has everything and unmount it, before the runtime is closed (to mount it again, restart the
        runtime)."""
        if self.drive is None:
            print("This run is not kept on Drive.")
        elif self.drive.wait() and "google.colab" in sys.modules:
            from google.colab import drive

            drive.flush_and_unmount()
            print("Everything is on Drive, and Drive is unmounted.")

    def shown(self, path):
        """A path as it is printed: relative to the repository where it lies inside, else relative to the user's
        home."""
        path = Path(path)
        for base, prefix in ((REPOSITORY, Path()), (Path.home(), Path("~"))):
            if path.is_relative_to(base):
                return str(prefix / path.relative_to(base))
        return str(path)


@dataclass(frozen=True)
class Stage:
    """A stage of the experiment: its number, its folder (checkpoints, `model.pth`) and how many epochs it takes."""

    course: Course
    number: int
    folder: Path
    epochs: int

    @property
    def model_path(self):
        """Where the finished stage leaves its weights, readable by the report's code."""
        return self.folder / "model.pth"

    @property
    def finished(self):
        """Has the stage been trained to its end, now or earlier? Not so while `model.pth` is that of fewer epochs."""
        reached = checkpoint.position(self.folder)
        if reached is None or not self.model_path.exists():
            return self.model_path.exists()
        return reached[0] >= self.epochs and checkpoint.saved_at(self.folder) <= self.model_path.stat().st_mtime

    @property
    def state(self):
        """How far the stage is, here or on Drive, in words, by its checkpoints' names; None where it has not begun."""
        drive = self.course.drive
        positions = [
            checkpoint.position(folder) for folder in (self.folder, drive and drive.there(self.folder)) if folder
        ]
        epoch, images = max(filter(None, positions), default=(None, None))
        if epoch is None or epoch >= self.epochs:
            return "finished" if epoch or self.finished else None
        return f"in epoch {epoch + 1} of {self.epochs}, after {images:,} of its images"

    def bring_back(self):
        """Take what Drive has of this stage, where the run is kept there and it is further than what is here."""
        if self.course.drive:
            self.course.drive.bring_back(self.folder)

    def start_over(self):
        """Forget all that was trained in this stage, here and on Drive; its training cell begins anew."""
        if self.course.drive:
            self.course.drive.forget(self.folder)
        if self.folder.exists():
            shutil.rmtree(self.folder)
        print(f"Stage {self.number} starts over.")
        if self.number == 2 and self.course.stage(3).state:
            print("Stage 3 still goes on from what stage 2 was. To train it anew too: course.stage(3).start_over()")

    def finished_model(self):
        """The path of `model.pth`; raises CheckpointError where the stage was not trained to its end."""
        if not self.finished:
            raise CheckpointError(
                f"Stage {self.number} is not finished: run its training cell again, to its end, before you go on."
            )
        return self.model_path


def open_course(data="shapes", preset="lecture", drive=False):
    """Decide what a run needs to know from a notebook's form; the environment (`COURSE_…`) wins over the form.

    data: a name of `data_manifest.json`, or the path of a folder or zip archive in the report's layout. preset:
    `smoke`, `lecture` or `full`. drive: keep a copy of everything on Google Drive (Colab asks for permission).
    A COURSE_HOME on a mounted Drive does the same. Raises SettingsError, or CheckpointError where Drive fails.
    """
    environment = {name: value for name, value in os.environ.items() if name.startswith("COURSE_") and value}
    known = {
        "COURSE_DATA",
        "COURSE_PRESET",
        "COURSE_HOME",
        "COURSE_SEED",
        "COURSE_SIZE",
        "COURSE_EPOCHS",
        "COURSE_PRECISION",
    }
    unknown = sorted(set(environment) - known)
    if unknown:
        raise SettingsError(f"There is no setting {unknown[0]}; the settings are {', '.join(sorted(known))}.")
    data, preset = environment.get("COURSE_DATA", data), environment.get("COURSE_PRESET", preset)
    if preset not in PRESETS:
        raise SettingsError(f"The preset (COURSE_PRESET) is {preset!r}; it can be {', '.join(PRESETS)}.")
    chosen = dict(PRESETS[preset])
    for name in ("seed", "size"):
        if f"COURSE_{name.upper()}" in environment:
            chosen[name] = _whole_number(f"COURSE_{name.upper()}", environment)
    if "COURSE_EPOCHS" in environment:  # of the training stages; stage 1 is a check and keeps its own
        epochs = _whole_number("COURSE_EPOCHS", environment)
        chosen["epochs"] = {**chosen["epochs"], 2: epochs, 3: epochs}
    home = environment.get("COURSE_HOME")
    home = Path(home).expanduser().resolve() if home else (mount_drive() if drive else REPOSITORY) / "runs"
    settings, device = Settings(**chosen), best_device()
    prepare(device)
    precision = choose_precision(device, environment.get("COURSE_PRECISION", "auto"))
    course = Course(data, preset, settings, device, precision, REPOSITORY / "runs" if on_drive(home) else home)
    if on_drive(home):  # local first: Drive gets copies
        course = replace(course, drive=drive_copy(course.folder, home / course.folder.name))
    if "COURSE_PRECISION" not in environment:
        course = replace(course, precision=kept_precision(course.folder, device, course.precision))
    return course


def _whole_number(name, environment):
    try:
        return int(environment[name])
    except ValueError:
        raise SettingsError(f"{name} is {environment[name]!r}: take a whole number.") from None


def mount_drive():
    """Mount Google Drive at the report's `./drive` (Colab only; it asks the reader) and return the reader's folder
    there, `MyDrive`."""
    if "google.colab" not in sys.modules:
        raise SettingsError(
            "Google Drive is there in Colab only. Set drive to False, or COURSE_HOME to a folder of your own."
        )
    from google.colab import drive

    mount_point = Path("drive").resolve()
    drive.mount(str(mount_point))
    return mount_point / "MyDrive"


def on_drive(path):
    """Does this path lie on a mounted Google Drive, where every file costs a round trip?"""
    path = Path(path).resolve()
    if {"MyDrive", "My Drive", "Shareddrives", "Shared drives"} & set(path.parts):
        return True
    try:
        mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    except OSError:  # no Linux
        return False
    drives = [point for device, point, kind, *_ in mounts if "fuse" in kind and "drive" in f"{device}{kind}".lower()]
    return any(path.is_relative_to(point.replace("\\040", " ")) for point in drives)


CPU_RATE = 19  # images/s that a CPU core trains at 224 × 224 in bf16, measured on two of them


def describe(course):
    """The run in two lines: what, on what, in which precision and memory format; where its outcome goes, and what was
    found there.

    A third says how many hours the preset `full` takes without a GPU, by what was measured on two cores.
    """
    places = course.shown(course.folder) + (f", copied to {course.drive.remote}" if course.drive else "")
    found = [f"stage {number} {state}" for number in course.settings.epochs if (state := course.stage(number).state)]
    return (
        f"{course.data_name}, preset {course.preset}: {course.settings.size} × {course.settings.size} pixels, "
        f"seed {course.settings.seed}, on {course.device.type} in {course.precision.name}, channels last\n"
        f"results in {places}; found there: {', '.join(found) or 'nothing yet'}" + _patience(course)
    )


def _patience(course):
    if course.preset != "full" or course.device.type != "cpu":
        return ""
    images = 40_000 * (course.settings.epochs[2] + course.settings.epochs[3]) * (course.settings.size / 224) ** 2
    hours = images / (CPU_RATE * torch.get_num_threads()) / 3600
    return (
        f"\nWithout a GPU this takes about {hours:.0f} hours (40,000 images, by the rate of a CPU with bf16). "
        "In Colab, choose Runtime → Change runtime type → GPU; or take the preset lecture."
    )
