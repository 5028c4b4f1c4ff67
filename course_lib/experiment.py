"""`Course`: one run of the experiment, with its data, its folder and its stages."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .data.bank import Bank, open_data
from .data.sealed import seal
from .device import Precision, best_device, choose_precision, computes_in
from .distributed import init_process_group, rank, rank_0_first, require_agreement
from .environment import refuse_misspelt_variables, whole_number
from .errors import DataError, DiskError, SettingsError
from .finished import use_finished
from .homes import find_homes, folder_name
from .model import MyModel, get_model, res_block
from .run_record import (
    choose_folder,
    claim_folder,
    new_record,
    require_own_name,
    require_same_run,
)
from .settings import PRESETS, STAGES, Settings, require_epochs
from .stage import Stage
from .storage.deletion import delete_ours
from .storage.drive import Drive, drive_copy
from .storage.files import entries, remove_if_empty
from .storage.identity import read_run, require_ours


@dataclass(frozen=True)
class Course:
    """One run of the experiment: `open_course` makes it, and most functions take it."""

    data: Bank  # the images
    preset: str
    settings: Settings
    epochs: dict[int, int]  # number of the stage → its epochs
    device: torch.device
    precision: Precision
    home: Path  # the folder of all runs, image banks and downloads, on a local disk
    folder: Path  # this run's folder
    source: str  # the name or path that the data was opened with
    skip_unreadable: bool  # whether images that can't be read are left out
    drive: Drive | None = None  # the copy of this run's folder on Google Drive
    experiments: tuple[str, ...] = ()  # the names of the experiments that led here, if any did

    @property
    def identity(self) -> dict[str, Any]:
        """What makes this run different from all others: its settings, and the data's content."""
        return {
            "data": {"name": self.data.name, "digest": self.data.digest},
            "settings": asdict(self.settings),
        }

    def new_model(
        self,
        seed: int | None = None,
        model_class: Callable[[type[nn.Module], int], nn.Module] = MyModel,
        block: type[nn.Module] = res_block,
    ) -> nn.Module:
        """A new model for this data's classes. seed: of its weights; by default, the course's.

        The other arguments: as in `get_model`.
        """
        if seed is None:
            seed = self.settings.seed
        return get_model(model_class, seed=seed, block=block, classes=len(self.data.classes))

    def claim(self) -> dict[str, Any]:
        """Claim the run's folder and return its `run.json`.

        Raises CheckpointError if the folder belongs to another run, or its data has changed.
        """
        return claim_folder(self)

    def stage(self, number: int) -> Stage:
        """Stage 1, 2 or 3 of the experiment (report 3)."""
        folder = self.folder / f"stage-{number}"
        return Stage(self, STAGES[number], folder, self.epochs[number])

    def experiment(self, name: str, start_over: bool = False, **changes: Any) -> Course:
        """Your own experiment: a separate run, as in `course.experiment("lr-0.1", lr=0.1)`.

        name: letters, digits, spaces and "._+-"; it becomes part of the folder's name. start_over:
        first delete what the experiment of this name has saved, here and on Drive. changes: fields
        of Settings, and `epochs` for all stages. Raises SettingsError, and CheckpointError if the
        folder is another run's.
        """
        if not isinstance(name, str) or not re.fullmatch(r"[\w.+-][\w.+ -]{0,99}", name):
            advice = 'use up to 100 letters, digits, spaces and "._+-": a folder is named after it'
            raise SettingsError(f"The experiment's name is {name!r}: {advice}.")
        epochs = self.epochs
        if "epochs" in changes:
            epochs = dict.fromkeys(self.epochs, require_epochs(changes.pop("epochs")))
        settings = self.settings.with_changes(**changes)
        precision = self.precision
        if "precision" in changes:
            precision = choose_precision(self.device, settings.precision)
        folder = self.folder.with_name(f"{self.folder.name}-{name}")
        if len(os.fsencode(folder.name)) > 255:  # bytes: no file system allows more
            raise SettingsError(f"The experiment's name is too long for a folder: {name!r}.")
        course = replace(
            self,
            settings=settings,
            epochs=epochs,
            precision=precision,
            folder=folder,
            experiments=(*self.experiments, name),
        )
        redrawn = any(field in changes for field in ("size", "seed", "images_per_class"))
        if redrawn:  # the generated data depends on these, and decoding on the size
            drawn_with = settings
            if self.data.sealed is not None:  # with another seed, others would be sealed
                drawn_with = settings.with_changes(seed=self.data.seed)
            with rank_0_first():
                data = open_data(self.source, drawn_with, self.home, self.skip_unreadable)
            if not data.generated and data.digest != self.data.digest:
                raise DataError(
                    f"{self.source} has changed since the course was opened. Open it again."
                )
            data = replace(data, hidden=self.data.hidden)
            if self.data.sealed is not None:
                data = seal(data)
            course = replace(course, data=data)
        runs_on_drive = None
        if self.drive:
            runs_on_drive = self.drive.remote.parent
        return _begin(course, runs_on_drive, start_over)

    def start_over(self) -> None:
        """Delete everything this run has saved, here and on Drive. Your own files stay.

        Raises CheckpointError if the folder is another run's by now.
        """
        self.forget(self.folder)
        with rank_0_first():
            if rank() == 0:
                self.forget_unfinished_trials()
        self.claim()

    def forget_unfinished_trials(self) -> None:
        """Delete what is left of trials that were stopped."""
        for trial in entries(self.unfinished_trials):
            delete_ours(trial)
        remove_if_empty(self.unfinished_trials)

    def forget(self, folder: Path) -> None:
        """Delete what the course has written in a folder of this run, here and on Drive.

        folder: the run's, or a stage's. Raises CheckpointError if it's another run's by now.
        """
        with rank_0_first():
            read_run(self.folder, self.identity)
            if self.drive:  # only rank 0 has one
                self.drive.forget(folder)
            elif rank() == 0:
                delete_ours(self.folder, folder.relative_to(self.folder))

    def leave_drive(self) -> None:
        """Wait until Drive has everything, of experiments too, then unmount it.

        Call it before you close the runtime.
        """
        copies = []
        if self.drive:
            runs = self.drive.remote.parent
            copies = [copy for copy in Drive.opened if copy.remote.parent == runs]
        complete = True
        for copy in copies:  # all of them, even if one isn't complete
            if not copy.wait():
                complete = False
        if not complete:
            print(
                "Drive doesn't have everything yet. Before you close the runtime, run this again."
            )
        elif copies and "google.colab" in sys.modules:
            from google.colab import drive  # pyright: ignore[reportMissingImports]

            try:
                drive.flush_and_unmount()
            except Exception as error:  # of several kinds, none of them documented
                raise DiskError(
                    f"Google Drive can't be unmounted ({error}), so it may not have everything "
                    "yet. Before you close the runtime, run this again."
                ) from error
            for copy in copies:
                copy.leave()
            print(
                "Everything is on Drive, and Drive is unmounted. To mount it again, restart the "
                "runtime."
            )

    @property
    def unfinished_trials(self) -> Path:
        """The folder of trials that were stopped. It isn't copied to Drive."""
        return self.home / "unfinished-trials" / self.folder.name

    def shown(self, path: Path) -> str:
        """A path inside `home` as it's printed, without naming your machine: "runs/my-run"."""
        return str(Path(self.home.name, Path(path).relative_to(self.home)))

    def describe(self) -> str:
        """The run in two lines: data, settings and device; then its folder and its stages."""
        settings = self.settings
        folder = self.shown(self.folder)
        if self.drive:
            folder += f", copied to {self.drive.remote}"
        stages = []
        for number in self.epochs:
            state = self.stage(number).state
            if state:
                stages.append(f"stage {number}: {state}")
        return (
            f"{self.data.name}, preset {self.preset}: {settings.size} × {settings.size} pixels, "
            f"seed {settings.seed}, on {self.device.type} in {self.precision.name}\n"
            f"{folder} – {', '.join(stages) or 'nothing trained yet'}"
        )


def open_course(
    data: str = "shapes",
    preset: str = "lecture",
    drive: bool = False,
    skip_unreadable: bool = False,
    start_over: bool = False,
    finished: bool = False,
) -> Course:
    """Open a run with the settings of a notebook's form; `COURSE_…` variables override them.

    data: a name in `data_manifest.json`, or the path of a folder or archive: a folder per class, or
    the report's layout. preset: "smoke", "lecture" or "full". drive: keep a copy of the run on
    Google Drive; Colab asks for permission. A COURSE_HOME on a mounted Drive does the same.
    skip_unreadable: leave out images that can't be read. start_over: first delete what a run of
    this name has saved, here and on Drive. finished: load stages that are offered for download
    instead of training them. Raises SettingsError, DataError, DiskError, or CheckpointError if the
    folder is another run's.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console may lack some of our characters
            stream.reconfigure(errors="replace")
    refuse_misspelt_variables()
    preset = os.environ.get("COURSE_PRESET") or preset
    if preset not in PRESETS:
        names = ", ".join(PRESETS)
        raise SettingsError(f"The preset (COURSE_PRESET) is {preset!r}; use {names}.")
    settings, epochs = PRESETS[preset]
    settings = settings.with_changes(
        seed=whole_number("COURSE_SEED", settings.seed),
        size=whole_number("COURSE_SIZE", settings.size),
        precision=os.environ.get("COURSE_PRECISION") or settings.precision,
    )
    if os.environ.get("COURSE_EPOCHS"):  # stage 1 keeps its epochs: it's only a check
        wanted = require_epochs(whole_number("COURSE_EPOCHS", 1))
        epochs = epochs | {2: wanted, 3: wanted}
    init_process_group(settings.batch_size)  # join the other processes, if `torchrun` started any
    device = best_device()
    precision = choose_precision(device, settings.precision)
    home, runs_on_drive = find_homes(os.environ.get("COURSE_HOME") or "", drive)
    source = os.environ.get("COURSE_DATA") or data
    skip_unreadable = whole_number("COURSE_SKIP_UNREADABLE", int(skip_unreadable)) > 0
    with rank_0_first():
        bank = open_data(source, settings, home, skip_unreadable)
    if bank.place:  # your own: the working directory may change
        source = os.path.abspath(os.path.expanduser(source))
    course = Course(
        data=bank,
        preset=preset,
        settings=settings,
        epochs=epochs,
        device=device,
        precision=precision,
        home=home,
        folder=home / folder_name(bank.name, preset, settings),
        source=source,
        skip_unreadable=skip_unreadable,
    )
    course = replace(course, folder=choose_folder(course, runs_on_drive, start_over))
    course = _begin(course, runs_on_drive, start_over)
    if whole_number("COURSE_FINISHED", int(finished)) > 0:
        use_finished(course)
    return course


def _delete_run(course: Course) -> None:
    """Delete what a run of this name has saved, even if its data or settings were others."""
    require_own_name(course, course.drive.remote if course.drive else None)
    if course.drive:
        course.drive.delete_any_run()
    else:
        delete_ours(course.folder)
    course.forget_unfinished_trials()
    new_record(course)  # files of yours may have kept the old one here


def _begin(course: Course, runs_on_drive: Path | None, start_over: bool = False) -> Course:
    """The course, restored from Drive if there's a copy, with the precision it was begun with."""
    require_agreement(course.identity)
    with rank_0_first():
        require_ours(course.folder)
        if runs_on_drive and rank() == 0:
            remote = runs_on_drive / course.folder.name
            course = replace(
                course, drive=drive_copy(course.folder, remote, json.dumps(course.identity))
            )
        if start_over and rank() == 0:
            _delete_run(course)
        if course.drive:
            on_drive = course.drive.trained_record()
            require_same_run(course, on_drive, course.drive.remote)
            course.drive.take_over(claim_folder(course, on_drive))
            course.drive.restore()
        began_in = course.claim()["precision"]
    if computes_in(course.device, began_in):
        return replace(course, precision=Precision(began_in, course.device.type))
    return course
