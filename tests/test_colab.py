"""Two notebooks in two Colab runtimes that share nothing but Drive; Colab's own package is a stand-in."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ADDRESS = "https://github.com/OWNER/REPOSITORY.git"
STAND_IN = """
import os
def mount(point):
    os.makedirs(os.path.join(os.environ["GOOGLE"], "MyDrive"), exist_ok=True)
    if not os.path.exists(point):
        os.symlink(os.environ["GOOGLE"], point)
"""


def git(*command, folder):
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def runtime(tmp_path):
    """A function that runs a notebook, Drive switched on, in a runtime with an empty disk, and returns what it
    prints."""
    origin, package, google = tmp_path / "origin", tmp_path / "packages" / "google" / "colab", tmp_path / "google"
    for part in ("course_lib", "notebooks"):
        shutil.copytree(ROOT / part, origin / part, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb"))
    shutil.copy(ROOT / "data_manifest.json", origin)
    git("init", "--quiet", folder=origin)
    git("add", ".", folder=origin)
    git("commit", "--quiet", "-m", "the course", folder=origin)
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("from . import drive")
    (package / "drive.py").write_text(STAND_IN)
    variables = {name: value for name, value in os.environ.items() if not name.startswith("COURSE_")} | {
        "COURSE_PRESET": "smoke",
        "GOOGLE": str(google),
        "MPLBACKEND": "Agg",
        "PYTHONPATH": str(package.parent.parent),
        "GIT_CONFIG_COUNT": "1",  # the notebook's own address leads to the repository above
        "GIT_CONFIG_KEY_0": f"url.{origin.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }

    def run(name, content):
        content.mkdir()
        source = (ROOT / "notebooks" / f"{name}.py").read_text(encoding="utf-8")
        assert "drive = False" in source and ADDRESS in source
        (content / "notebook.py").write_text(source.replace("drive = False", "drive = True"), encoding="utf-8")
        start = "import google.colab, runpy; runpy.run_path('notebook.py')"
        done = subprocess.run(
            [sys.executable, "-c", start], cwd=content, env=variables, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        assert (content / "course" / "runs").is_dir()  # from the clone, local first
        return done.stdout

    run.google = google / "MyDrive" / "runs" / "shapes-smoke"
    return run


def test_a_run_goes_on_from_drive_in_another_runtime(runtime, tmp_path):
    first = runtime("02_train_without_augmentation", tmp_path / "content")
    assert "found there: nothing yet" in first and "epoch  1/1" in first
    assert (runtime.google / "stage-2" / "model.pth").exists() and (runtime.google / "results.json").exists()
    second = runtime("03_train_with_augmentation", tmp_path / "content-2")
    assert "found there: stage 2 finished" in second and second.count("epoch  1/1") == 1  # of stage 3
    assert "Stage 2 was finished earlier" in second
    assert "| 2, 1 epochs" in second and "| 3, 1 epochs" in second  # stage 2's results came from Drive, too
    for name in ("stage-3/model.pth", "results.json", "curves.png"):
        assert (runtime.google / name).stat().st_size > 0
