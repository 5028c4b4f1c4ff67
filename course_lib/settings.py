"""What you can set for a run, the presets, and what each stage of the experiment is."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

from .errors import SettingsError

SCHEDULES = ("constant", "one-cycle")  # `loops.learning_rate` says what they are


@dataclass(frozen=True)
class StageSpec:
    """What a stage is, whatever data and settings it's trained with (report 3)."""

    number: int  # its random numbers depend on it: see `data/draws.py`
    title: str
    augmented: bool = False  # whether its training images are augmented
    starts_from: int | None = None  # the stage whose finished model it continues; None: a new model
    batches: int | None = None  # how many batches of images it's trained on; None: all images


STAGES = {
    1: StageSpec(1, "five batches", batches=5),
    2: StageSpec(2, "without augmentation"),
    3: StageSpec(3, "with augmentation", augmented=True, starts_from=2),
}


@dataclass(frozen=True)
class Settings:
    """Everything a run's numbers depend on, besides the data: all of it is part of its identity.

    The defaults are the report's (1.E, 3.A). Raises SettingsError for a value that can't be used.
    """

    size: int  # side of the images, in pixels
    images_per_class: tuple[int, int]  # of generated data: (training, held-out)
    seed: int = 0
    precision: str = "auto"  # or one of `device.PRECISIONS`
    batch_size: int = 32
    lr: float = 0.01
    schedule: str = "constant"
    momentum: float = 0.9
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    # The augmentation: its smallest crop, as a share of the image (with 1, only very wide or tall
    # images are cut, to 4:3); the probabilities of a horizontal and a vertical flip; the largest
    # rotation in either direction, in degrees; and the share of images in an augmented epoch that
    # stay plain.
    crop: float = 0.08
    flips: tuple[float, float] = (0.5, 0.5)
    degrees: float = 90.0
    plain: float = 0.0
    # On several GPUs: normalise over the whole batch, not over each GPU's share of it.
    sync_batch_norm: bool = False

    def __post_init__(self):
        for field in fields(self):
            # The class is frozen: `self.x = …` would raise an error.
            object.__setattr__(self, field.name, _as_python(getattr(self, field.name)))
        # The model halves the size five times; PyTorch would need too much memory for more.
        _require_whole_number("size (COURSE_SIZE)", self.size, 32, 4096)
        _require_whole_number("seed (COURSE_SEED)", self.seed, 0, 2**63 - 1)
        _require_whole_number("batch_size", self.batch_size, 1)
        _require_pair("images_per_class", self.images_per_class)
        for count in self.images_per_class:
            _require_whole_number("images_per_class", count, 1)
        _require_number("lr", self.lr, 0)
        _require_number("momentum", self.momentum, 0, 1)
        _require_number("weight_decay", self.weight_decay, 0)
        _require_number("label_smoothing", self.label_smoothing, 0, 1)
        _require_number("crop", self.crop, 0, 1)
        if self.crop == 0:
            raise SettingsError("crop is 0: a crop needs some of the image, such as 0.08.")
        _require_pair("flips", self.flips)
        for probability in self.flips:
            _require_number("flips", probability, 0, 1)
        _require_number("degrees", self.degrees, 0, 180)
        _require_number("plain", self.plain, 0, 1)
        if not isinstance(self.precision, str):
            raise SettingsError(f"precision is {self.precision!r}: use a name, such as fp32.")
        if self.schedule not in SCHEDULES:
            raise SettingsError(f"schedule is {self.schedule!r}: use {' or '.join(SCHEDULES)}.")
        if not isinstance(self.sync_batch_norm, bool):
            raise SettingsError(f"sync_batch_norm is {self.sync_batch_norm!r}: use True or False.")

    def with_changes(self, **changes: Any) -> Settings:
        """These settings with some changes. Raises SettingsError if there's no such setting."""
        names = [field.name for field in fields(Settings)]
        for name in changes:
            if name not in names:
                known = ", ".join(names)
                raise SettingsError(f"There is no setting {name!r}; the settings are {known}.")
        return replace(self, **changes)


def require_epochs(epochs: int) -> int:
    """Return the number of epochs as an int. Raises SettingsError unless it's a whole number."""
    epochs = _as_python(epochs)
    _require_whole_number("epochs (COURSE_EPOCHS)", epochs, 1)
    return epochs


def _as_python(value: Any) -> Any:
    """A value in Python's own types: a checkpoint can't hold NumPy's."""
    if hasattr(value, "tolist"):  # arrays, tensors and their numbers
        value = value.tolist()
    if isinstance(value, float):
        return float(value)  # not a subclass of it either
    if isinstance(value, list | tuple):
        return tuple(_as_python(part) for part in value)
    return value


def _require_number(name: str, value: Any, low: float, high: float = 1e6) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SettingsError(f"{name} is {value!r}: use a number.")
    if not low <= value <= high:  # not a number (nan) isn't between any two
        shown = repr(value)[:30]
        raise SettingsError(f"{name} is {shown}: use a number from {low:g} to {high:g}.")


def _require_whole_number(name: str, value: Any, low: int, high: float = 1e6) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise SettingsError(f"{name} is {value!r}: use a whole number.")
    _require_number(name, value, low, high)


def _require_pair(name: str, value: Any) -> None:
    if not isinstance(value, tuple) or len(value) != 2:
        raise SettingsError(f"{name} is {value!r}: use two numbers, such as (0.5, 0.5).")


class Preset(NamedTuple):
    """A choice of settings with a name, and how many epochs each stage takes."""

    settings: Settings
    # Not part of a run's identity: a finished stage can be trained further.
    epochs: dict[int, int]


PRESETS = {
    # seconds, for tests
    "smoke": Preset(Settings(size=32, images_per_class=(2, 1)), {1: 1, 2: 1, 3: 1}),
    # minutes on a CPU
    "lecture": Preset(Settings(size=64, images_per_class=(8, 8)), {1: 40, 2: 44, 3: 30}),
    # the report's numbers
    "full": Preset(Settings(size=224, images_per_class=(500, 50)), {1: 30, 2: 30, 3: 50}),
}
