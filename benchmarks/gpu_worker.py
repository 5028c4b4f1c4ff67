"""Trains a stage in a process of its own, for `gpu_correct.py`.

    python gpu_worker.py die|train NAME NETWORK PIXELS BATCH FOLDER

die: in the middle of the second epoch, without any warning. train: one epoch, perhaps as one of
several processes that torchrun has started; prints the loss.
"""

from __future__ import annotations

import itertools
import os
import sys
from typing import Any

from gpu_setup import NETWORKS

from course_lib import get_model, open_course, train
from course_lib.storage import checkpoints

STAGE = 3
PLACE = "bench"  # the experiment of `places.Place`, to which this one belongs
DIED = 9  # the exit status
LAST_STEP = 7  # of an epoch of four steps: the third of the second epoch


def die_in_the_second_epoch(module, inputs) -> None:
    """Called before each forward pass."""
    if module.training and next(_steps) == LAST_STEP:
        os._exit(DIED)  # nothing is closed, flushed or saved


_steps = itertools.count(1)


def main(what: str, name: str, network: str, pixels: str, batch: str, folder: str) -> None:
    """Train as `what` says."""
    os.environ["COURSE_SIZE"] = pixels
    course = open_course(folder)
    model = get_model(NETWORKS[network])
    epochs = 1
    if what == "die":
        epochs = 2
        checkpoints.EVERY_SECONDS = -1  # after every step
        model.register_forward_pre_hook(die_in_the_second_epoch)
    settings: dict[str, Any] = {"epochs": epochs, "batch_size": int(batch)}
    if what == "train" and course.device.type == "cuda":
        settings["sync_batch_norm"] = True
    course = course.experiment(PLACE, batch_size=int(batch)).experiment(name, **settings)
    images = course.data.train.take(4 * int(batch))
    history = train(model, images, course.stage(STAGE), augmented=True)
    print(history[-1]["loss"])


if __name__ == "__main__":
    main(*sys.argv[1:])
