"""Offer the finished stages of a run for download:  python -m tools.release [--at https://…]

It writes a file per stage to build/release, with the stage's weights and its history, and with the
beginning of its digest in its name. Upload these files, such as to a release on GitHub, and run it
again with the address of the folder that they're in: then data_manifest.json lists them. After
`make publish`, the notebooks' form has a tick, `use_finished_networks`.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from course_lib import CheckpointError, CourseError, SettingsError, open_course
from course_lib.data import manifest
from course_lib.experiment import Course
from course_lib.finished import Offer
from course_lib.settings import STAGES
from course_lib.storage.checkpoints import load, newest_good
from course_lib.storage.files import content_digest, write_bytes, write_text
from course_lib.storage.identity import weights_digest

from . import notebooks

RELEASED = [number for number, spec in STAGES.items() if spec.batches is None]
ADDRESS = re.compile(r"https?://[^\s\"\\?#]+")


def release(course: Course, folder: Path, address: str) -> list[Offer]:
    """Write the finished stages of a course to files in `folder`, and describe them.

    address: that of the folder from which they'll be downloaded. Raises CheckpointError if a stage
    isn't finished, or didn't start from the one that's released with it.
    """
    offers = []
    digests = {}
    for number in RELEASED:
        stage = course.stage(number)
        checkpoint = newest_good(stage.folder)
        if checkpoint is None or not stage.finished:
            raise CheckpointError(f"Stage {number} isn't finished in {course.folder}. Train it.")
        state = load(checkpoint)
        digests[number] = weights_digest(state["model"])
        before = stage.spec.starts_from
        if before is not None and state["identity"]["starts from"] != digests[before]:
            raise CheckpointError(
                f"Stage {number} didn't start from this stage {before}. Train it anew."
            )
        file = io.BytesIO()
        content = {"model": state["model"], "history": state["position"]["history"]}
        torch.save(content, file)
        sha256 = hashlib.sha256(file.getvalue()).hexdigest()
        name = f"{course.data.name}-{course.preset}-stage-{number}-{sha256[:8]}.pth"
        write_bytes(folder / name, file.getvalue())
        offers.append(Offer(number, stage.epochs, f"{address.rstrip('/')}/{name}", sha256))
    return offers


def listed(course: Course, offers: list[Offer]) -> dict[str, Any]:
    """The manifest, with these offers in the entry of the course's data and preset.

    Raises SettingsError if the data isn't one of the manifest's.
    """
    found = json.loads(manifest.MANIFEST.read_bytes())
    name = course.data.name
    if name not in found:
        raise SettingsError(
            f"{name} isn't a data set of the course, so nobody else has its images."
        )
    finished = found[name].setdefault("finished", {})
    finished[course.preset] = {
        "identity": content_digest(course.identity),
        "networks": [offer._asdict() for offer in offers],
    }
    return found


def main(arguments: Sequence[str]) -> None:
    """Parse the command line and release; an error is one sentence and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.release", description=__doc__)
    parser.add_argument("--at", default="", help="the address of the folder with the files")
    address = parser.parse_args(arguments).at
    if address and not ADDRESS.fullmatch(address):
        sys.exit(f"{address!r} isn't an address that begins with https://")
    folder = notebooks.FOLDER.parent / "build" / "release"
    try:
        course = open_course()
        offers = release(course, folder, address)
        found = listed(course, offers)
    except (CourseError, OSError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    print(f"In {folder}:")
    for offer in offers:
        print(f"    {offer.file}")
    if not address:
        print(
            "Upload them, such as to a release on GitHub, whose files are at\n"
            "    https://github.com/OWNER/NAME/releases/download/TAG\n"
            "and run this again with that address: make release AT=https://…"
        )
        return
    write_text(manifest.MANIFEST, json.dumps(found, indent=2, ensure_ascii=False) + "\n")
    print(
        f"{manifest.MANIFEST.name} lists them at {address}. Upload the files there, run "
        "make publish, and commit."
    )


if __name__ == "__main__":
    main(sys.argv[1:])
