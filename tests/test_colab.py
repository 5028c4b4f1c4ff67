"""Two notebooks in two Colab runtimes that share nothing but Drive; Colab's own package is a stand-in."""

import shutil
import subprocess

import nbformat
import pytest

from tools.notebooks import FOLDER
from tools.reproduce import execute

ROOT = FOLDER.parent
ADDRESS = "https://github.com/OWNER/REPOSITORY.git"
# Like the real one: it refuses a mount point that isn't an empty folder, or whose parent is missing.
DRIVE = """
import os

_mounted = []

def mount(point):
    if _mounted:
        print(f"Drive already mounted at {point}")
        return
    if " " in point or not os.path.isdir(os.path.dirname(point)) or os.path.lexists(point) and os.listdir(point):
        raise ValueError(point)
    os.makedirs(point, exist_ok=True)
    os.symlink(os.environ["GOOGLE"], os.path.join(point, "MyDrive"))
    _mounted.append(point)
    print(f"Mounted at {point}")

def flush_and_unmount():
    os.unlink(os.path.join(_mounted.pop(), "MyDrive"))
"""


def git(*command, folder):
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def runtime(environment, tmp_path, monkeypatch):
    """A function that runs a notebook, Drive switched on, in a runtime with an empty disk; returns what it prints."""
    origin, google, profile = tmp_path / "origin", tmp_path / "google", tmp_path / "ipython" / "profile_default"
    for part in ("course_lib", "notebooks"):
        shutil.copytree(ROOT / part, origin / part, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb"))
    for name in ("data_manifest.json", "pyproject.toml"):
        shutil.copy(ROOT / name, origin)
    git("init", "--quiet", folder=origin)
    git("add", ".", folder=origin)
    git("commit", "--quiet", "-m", "the course", folder=origin)
    google.mkdir()
    package = tmp_path / "packages" / "google" / "colab"  # `google` itself is a namespace, as there
    for path, text in (
        (package / "__init__.py", "from . import drive"),
        (package / "drive.py", DRIVE),
        (profile / "startup" / "00.py", "import google.colab"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    environment(PRESET="smoke")
    monkeypatch.delenv("COURSE_HOME")
    for name, value in {
        "GOOGLE": google,
        "IPYTHONDIR": profile.parent,
        "PYTHONPATH": package.parent.parent,
        "GIT_CONFIG_COUNT": 1,  # the notebook's own address leads to the repository above
        "GIT_CONFIG_KEY_0": f"url.{origin.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": ADDRESS,
    }.items():
        monkeypatch.setenv(name, str(value))

    def run(name, number):
        content = tmp_path / f"content-{number}"
        content.mkdir()
        monkeypatch.chdir(content)
        source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        for before, after in (("drive = False", "drive = True"), ("# course.leave_drive()", "course.leave_drive()")):
            assert before in source and ADDRESS in source
            source = source.replace(before, after)
        (content / "notebook.py").write_text(source, encoding="utf-8")
        execute(content / "notebook.py", content / "executed.ipynb")
        assert (
            content / "course" / "runs" / "shapes-smoke"
        ).is_dir()  # the clone's library ran, on the local disk first
        assert not (content / "drive" / "MyDrive").exists()  # unmounted
        notebook = nbformat.read(content / "executed.ipynb", 4)
        return "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))

    run.google = google / "runs" / "shapes-smoke"
    return run


def test_a_run_resumes_from_drive_in_another_runtime(runtime):
    first = runtime("02_train_without_augmentation", 1)
    assert "stage 2, epoch  1/1" in first
    model = (runtime.google / "stage-2" / "model.pth").read_bytes()
    second = runtime("03_train_with_augmentation", 2)
    assert "stage 3, epoch  1/1" in second and "stage 2, epoch" not in second
    assert "| 2, 1 epochs" in second and "| 3, 1 epochs" in second  # stage 2's results came from Drive, too
    for name in ("run.json", "stage-3/model.pth", "results.json"):
        assert (runtime.google / name).stat().st_size > 0
    assert (runtime.google / "stage-2" / "model.pth").read_bytes() == model
