"""Trains a tiny model, perhaps as one of several processes that torchrun starts; see
test_distributed.py."""

import os
import signal
import sys

from tiny import at_step, linear_model, noise_images
from torch import nn

from course_lib import SettingsError, evaluate, open_course, test, train, trial
from course_lib.storage import checkpoints

IMAGES = 25  # in batches of 8, the last one of 9: two processes get 5 and 4, four get 3, 2, 2 and 2
DIFFERENT = ["network", "images", "augmented", "settings"]  # between processes


class Double(nn.Module):
    """Turns images into float64, so that sums in another order differ by rounding errors of 1e-16
    only."""

    def forward(self, x):
        return x.double()


class FrozenBatchNorm(nn.BatchNorm2d):
    """BatchNorm that always normalises with its stored statistics: an image's logits don't depend
    on its batch."""

    def train(self, mode=True):
        return super().train(False)


def model():
    """A linear model in float64, behind a BatchNorm whose statistics are frozen."""
    return nn.Sequential(Double(), FrozenBatchNorm(3).double(), *linear_model().double())


def stage(name="ranks", epochs=3):
    """Stage 2 of an experiment of that name."""
    return open_course().experiment(name, epochs=epochs, batch_size=8).stage(2)


def fit(stage, model):
    """Train as in the notebooks; returns the history."""
    return train(
        model, noise_images(IMAGES), stage, augmented=True, heldout=noise_images(9, seed=1)
    )


def tour(stage):
    """What else processes do together, with files that rank 0 alone writes or deletes; each of them
    must find them."""
    course, result = stage.course, stage.course.folder / "result.csv"
    for count in (8, 9):
        for _ in range(2):
            trial(course, noise_images(count), epochs=1, model=model())
        trained = model()
        fit(stage, trained)
        test(trained, noise_images(count), course, result)
        assert len(result.read_text(encoding="utf-8").splitlines()) == count + 1
        evaluate(trained, noise_images(count), course)
        stage.start_over()
        fit(stage, model())
        course.start_over()
    print("The tour is over.")


def meet(home):
    """Resume what was trained, make the tour, and resume it once more in a `home` that differs
    between machines."""
    fit(stage(), model())
    tour(stage("tour", epochs=1))
    os.environ["COURSE_HOME"] = home
    fit(stage(), model())


def end(rank, step, how):
    """Train until this step of this rank, which kills it or raises an error."""
    checkpoints.EVERY_SECONDS = -1  # a checkpoint after every step
    trained = model()
    if rank == os.environ["RANK"]:
        at_step(
            trained,
            int(step),
            lambda: os.kill(os.getpid(), signal.SIGKILL) if how == "kill" else 1 / 0,
        )
    fit(stage(), trained)


class Tanh(nn.Tanh):
    """An activation of one's own, so that the network's description names it."""


def differ():
    """Try to train with something else in rank 1, one thing after the other; the last one isn't
    caught."""
    for what in DIFFERENT[:-1]:
        try:
            train_differing(what)
        except SettingsError as error:
            print(f"{what}: {error}")
    train_differing(DIFFERENT[-1])


def train_differing(what):
    """Train; in rank 1, one thing differs."""
    odd = os.environ["RANK"] == "1"
    lr = 0.02 if what == "settings" and odd else 0.01
    course = open_course().experiment(f"differing-{what}", epochs=1, lr=lr)
    network = model()
    if what == "network" and odd:
        network.append(Tanh())
    images = noise_images(IMAGES, seed=1 if what == "images" and odd else 0)
    train(network, images, course.stage(2), augmented=not (what == "augmented" and odd))


if __name__ == "__main__":
    {"meet": meet, "end": end, "differ": differ}[sys.argv[1]](*sys.argv[2:])
