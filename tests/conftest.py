"""What the tests share: a course of their own in an empty home, the same on every machine."""

import os
import signal

os.environ["OMP_NUM_THREADS"] = (
    "1"  # read when torch is imported: sums are bit-identical only if split up the same way
)

import hypothesis
import pytest
import torch
from tiny import BATCH, EPOCHS

from course_lib import experiment, open_course
from course_lib.data.bank import open_data
from course_lib.errors import say_once
from course_lib.storage import checkpoints

# Always the same examples, so that a red build stays red; no time limit, since a machine may be
# busy.
hypothesis.settings.register_profile(
    "course",
    derandomize=True,
    deadline=None,
    max_examples=50,
    suppress_health_check=[
        hypothesis.HealthCheck.function_scoped_fixture,
        hypothesis.HealthCheck.too_slow,
    ],
)
hypothesis.settings.load_profile("course")

# Files of few tests that take long, because they start many processes: first, so that all workers
# end together.
FIRST = [
    "test_notebooks",
    "test_lecture",
    "test_jupyterlab",
    "test_benchmarks",
    "test_distributed",
    "test_colab",
    "test_site",
]

signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # a shell lets what it runs in the background ignore ■


def pytest_collection_modifyitems(items):
    """Called by pytest: put the tests in FIRST first."""
    items.sort(
        key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST)
    )


@pytest.fixture(autouse=True)
def nothing_said():
    """Sentences that the course prints only once are printed anew in each test."""
    say_once.cache_clear()


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """A clean environment with an empty home; returns a function that sets COURSE_ variables:
    environment(SIZE=64)."""
    for name in list(os.environ):
        if name.startswith("COURSE_"):
            monkeypatch.delenv(name)

    def set_variables(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"COURSE_{name}", str(value))

    set_variables(HOME=tmp_path / "home")
    return set_variables


@pytest.fixture(scope="session")
def drawn(tmp_path_factory):
    """Where the generated data and its bank are kept, so that they're made once and not by every
    test."""
    return tmp_path_factory.mktemp("drawn")


@pytest.fixture
def course(environment, drawn, monkeypatch):
    """A Course of the smoke preset, on the CPU in fp32 whatever the machine has; its runs are kept
    in tmp_path."""
    environment(PRESET="smoke", PRECISION="fp32")
    monkeypatch.setattr(experiment, "best_device", lambda: torch.device("cpu"))

    def open_drawn_data(data, settings, home, skip_unreadable=False):
        return open_data(data, settings, drawn if data == "shapes" else home, skip_unreadable)

    monkeypatch.setattr(experiment, "open_data", open_drawn_data)
    return open_course()


@pytest.fixture
def short(course):
    """A course whose stages take three epochs in batches of 8, and save after two minutes, as
    always."""
    return course.experiment("short", epochs=EPOCHS, batch_size=BATCH)


@pytest.fixture
def saving_often(monkeypatch):
    """A checkpoint after every step."""
    monkeypatch.setattr(checkpoints, "EVERY_SECONDS", -1)
