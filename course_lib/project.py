"""A project with images of your own (notebook 14): what's in them, and a run with sealed images."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import torch

from .data import describe
from .data.manifest import locate
from .data.sealed import seal
from .experiment import Course
from .homes import find_homes


def describe_data(course: Course | str | Path) -> str:
    """What is found in a course's data, and what's wrong with it, in words. Opens every image.

    course: or the path of your own folder or archive, if the course can't be opened because of what
    is wrong. Raises DataError.
    """
    if isinstance(course, str | Path):
        home, _ = find_homes(os.environ.get("COURSE_HOME") or "", drive=False)
        return describe.describe_data(course, home=home)
    located = locate(course.source, course.settings, course.home)
    return describe.describe_data(located.path, located.layout)


def begin_project(course: Course, epochs: int, start_over: bool = False) -> Course:
    """A run of its own on the same data, part of which is sealed: see `data.sealed.seal`.

    epochs: of every stage. start_over: first delete what the project has saved. What is trained in
    it never sees the sealed images, and they can't be used through `course` either; `submit` opens
    them. A line is printed if an earlier notebook has measured on some of them. Raises
    SettingsError, DataError, DiskError, CheckpointError.
    """
    project = course.experiment("project", start_over, epochs=epochs)
    data = seal(project.data)
    measured = any(course.stage(number).measured_path.exists() for number in course.epochs)
    if measured and data.sealed is not None:
        known = torch.isin(data.sealed.rows, course.data.heldout.rows)
        if known.any():
            print(
                f"Notebooks 04 to 06 have already measured on {known.sum():,} of the "
                f"{len(known):,} sealed images. If you made choices there, say so in your claim."
            )
    return replace(project, data=data)
