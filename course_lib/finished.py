"""Networks that were trained elsewhere: a `model.pth` of yours, or those that the course offers.

What's offered is listed in `data_manifest.json`, by data set and preset; `tools/release.py` makes
these files. Each of them holds the weights and the history of a stage.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlparse

import torch

from .data import manifest
from .device import place
from .distributed import ranks
from .errors import CheckpointError, SettingsError, brief
from .loops import first_model, new_optimizer
from .run import Run
from .storage.checkpoints import digest_of, load, newest_good
from .storage.files import content_digest, remove
from .storage.weights import load_weights

if TYPE_CHECKING:
    from .experiment import Course
    from .stage import Stage

PATIENCE_SECONDS = 20  # for a server that's silent
WITHOUT = "Untick `use_finished_networks` (COURSE_FINISHED) to train them yourself."


class Offer(NamedTuple):
    """A finished network that can be downloaded, as `data_manifest.json` describes it."""

    stage: int
    epochs: int  # that it was trained for
    address: str  # its file's name ends with the first 8 digits of the digest, as PyTorch wants it
    sha256: str  # in 64 hexadecimal digits

    @property
    def file(self) -> str:
        """The name of the file."""
        return Path(urlparse(self.address).path).name


def adopt_model(
    course: Course,
    path: str | Path,
    history: Sequence[dict[str, Any]] = (),
    stage_number: int = 2,
) -> None:
    """Import a `model.pth` from elsewhere as a finished stage, so that the experiment continues.

    history: its epochs, as `train` returns them, if you have them. If the stage starts from another
    one, as stage 3 does, that must be this course's, which can't be checked. The file's name and
    digest are kept in `results.json`. Raises CheckpointError if the weights don't fit or aren't
    finite, if the stage has already begun, or if the one before it isn't finished.
    """
    path = Path(path)
    stage = course.stage(stage_number)
    adopted = course.new_model()
    load_weights(adopted, path)
    origin = f"{path.name}, SHA-256 {digest_of(path.read_bytes())}…"
    if stage.state:
        raise CheckpointError(
            f"Stage {stage_number} has already begun. To replace it, run "
            f"course.stage({stage_number}).start_over() first."
        )
    before = stage.spec.starts_from
    if before is not None and not course.stage(before).finished:
        raise CheckpointError(
            f"Stage {before} isn't finished. First import the stage {before} that this stage "
            f"{stage_number} started from."
        )
    model = place(first_model(stage), course.device)
    optimizer = new_optimizer(model, course.settings)
    scaler = course.precision.scaler()
    with Run(stage, model, optimizer, scaler, stage.images, stage.spec.augmented) as run:
        model.load_state_dict(adopted.state_dict())
        run.position.epoch = stage.epochs
        run.position.history = list(history)
        run.position.origin = origin
        run.finish()


def use_finished(course: Course) -> None:
    """Download the finished networks that are offered for a course, and adopt them.

    What has been trained in this run stays, and so does what was adopted before. Raises
    SettingsError if nothing is offered for this data, preset and settings, and CheckpointError if
    a file can't be downloaded or is another one.
    """
    if ranks() > 1:
        raise SettingsError(f"Finished networks are for one process, not {ranks()}. {WITHOUT}")
    for offer in offers(course):
        stage = course.stage(offer.stage)
        if stage.state is None:
            path, history = _download(offer, course.home / "finished-networks")
            adopt_model(course, path, history, offer.stage)
        elif not _is_from(stage, offer):
            print(f"This run has a stage {offer.stage} of its own, so no finished one is loaded.")
            return


def offers(course: Course) -> list[Offer]:
    """The finished networks for a course, in the order of the stages. Raises SettingsError."""
    data = course.data.name
    entry = json.loads(manifest.MANIFEST.read_bytes()).get(data, {})
    found = entry.get("finished", {}).get(course.preset)
    if found is None:
        raise SettingsError(
            f"No finished networks are offered for {data}, preset {course.preset}. {WITHOUT}"
        )
    if found["identity"] != content_digest(course.identity):
        raise SettingsError(
            f"The finished networks of {data}, preset {course.preset}, were trained with other "
            f"settings (such as another seed or size) or other images than this run's. {WITHOUT}"
        )
    offered = [Offer(**network) for network in found["networks"]]
    for offer in offered:
        wanted = course.stage(offer.stage).epochs
        if offer.epochs != wanted:
            raise SettingsError(
                f"The finished network of stage {offer.stage} was trained for {offer.epochs} "
                f"epochs, and this run asks for {wanted}. {WITHOUT}"
            )
    return offered


def _is_from(stage: Stage, offer: Offer) -> bool:
    """The stage holds the network that's offered, and no other."""
    checkpoint = newest_good(stage.folder)
    if checkpoint is None:
        return False
    origin = load(checkpoint)["position"]["origin"]
    return origin is not None and origin.startswith(offer.file)


def _download(offer: Offer, folder: Path) -> tuple[Path, list[dict[str, Any]]]:
    """The file of an offer in `folder`, and the history in it.

    Raises CheckpointError unless it has the right SHA-256. Nothing in the file is executed.
    """
    path = folder / offer.file
    if path.exists() and _sha256(path) != offer.sha256:
        remove(path)  # damaged: PyTorch checks only what it downloads
    try:
        with _impatient():
            content = torch.hub.load_state_dict_from_url(
                offer.address, str(folder), map_location="cpu", check_hash=True, weights_only=True
            )
    except (OSError, HTTPException, RuntimeError, pickle.UnpicklingError) as error:
        raise CheckpointError(
            f"The finished stage {offer.stage} couldn't be downloaded from {offer.address}: "
            f"{brief(str(error))}. Try again. {WITHOUT}"
        ) from error
    if _sha256(path) != offer.sha256:
        remove(path)
        raise CheckpointError(
            f"{offer.address} has another SHA-256 than data_manifest.json says, so it's another "
            f"file. {WITHOUT}"
        )
    return path, content.get("history", [])


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _impatient() -> Iterator[None]:
    """Give up on a silent server: PyTorch itself would wait for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE_SECONDS)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
