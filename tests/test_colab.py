"""Published notebooks in runtimes with an empty disk: Colab's, which share Drive, and others.

Colab's own package is a stand-in.
"""

import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from tools import publish
from tools.notebooks import FOLDER
from tools.reproduce import NotebookFailed, execute

ROOT = FOLDER.parent
# Colab has nothing of the course installed; here, the checkout may be.
STARTUP = """
import os, sys

def has_course(folder):
    return os.path.exists(os.path.join(folder, "course_lib/__init__.py"))

sys.path[:] = [folder for folder in sys.path if not has_course(folder)]
if "GOOGLE" in os.environ:
    import google.colab
"""
# Like the real one: it refuses a mount point that isn't an empty folder, or whose parent is
# missing.
DRIVE = """
import os

_mounted = []

def mount(point):
    if _mounted:
        print(f"Drive already mounted at {point}")
        return
    if " " in point or not os.path.isdir(os.path.dirname(point)):
        raise ValueError(point)
    if os.path.lexists(point) and os.listdir(point):
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
    """A function that runs a notebook and some more code in a runtime with an empty disk.

    It returns what they print.
    """
    origin = tmp_path / "owner" / "course"
    google = tmp_path / "google"
    profile = tmp_path / "ipython" / "profile_default"
    for part in ("course_lib", "notebooks"):
        shutil.copytree(
            ROOT / part, origin / part, ignore=shutil.ignore_patterns("__pycache__", "*.ipynb")
        )
    for name in ("data_manifest.json", "pyproject.toml"):
        shutil.copy(ROOT / name, origin)
    git("init", "--quiet", folder=origin)
    git("add", ".", folder=origin)
    git("commit", "--quiet", "-m", "the course", folder=origin)
    google.mkdir()
    package = tmp_path / "packages" / "google" / "colab"  # `google` itself is a namespace, as there
    texts = {
        package / "__init__.py": "from . import drive",
        package / "drive.py": DRIVE,
        profile / "startup" / "00.py": STARTUP,
    }
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    environment(PRESET="smoke")
    monkeypatch.delenv("COURSE_HOME")
    for name, value in {
        "GOOGLE": google,
        "IPYTHONDIR": profile.parent,
        "PYTHONPATH": package.parent.parent,
        "GIT_CONFIG_COUNT": 1,  # the notebook's own address leads to the repository above
        "GIT_CONFIG_KEY_0": f"url.{tmp_path.as_uri()}/.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/",
    }.items():
        monkeypatch.setenv(name, str(value))

    git("branch", "--move", "2026-autumn", folder=origin)

    def run(name, *more, drive=False, repository="owner/course", ref="2026-autumn"):
        content = tmp_path / f"content-{name}"
        content.mkdir()
        monkeypatch.chdir(content)
        source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
        source, published = publish.ADDRESS.subn(f'repository = "{repository}"', source)
        source, switched = re.subn("^drive = False", f"drive = {drive}", source, flags=re.MULTILINE)
        source, referred = publish.REF.subn(f'ref = "{ref}"', source)
        assert published == switched == referred == 1
        source = "\n\n# %%\n".join([source, *more])
        (content / "notebook.py").write_text(source, encoding="utf-8")
        execute(content / "notebook.py", content / "executed.ipynb")
        # The clone's library ran, on the local disk:
        assert (content / "course" / "runs" / "shapes-smoke").is_dir()
        notebook = nbformat.read(content / "executed.ipynb", 4)
        shown = []
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                shown.append(output.get("text", ""))
                shown.append(output.get("data", {}).get("text/markdown", ""))  # tables
        return "".join(shown)

    run.google = google / "runs" / "shapes-smoke"
    return run


@pytest.mark.slow
def test_a_run_resumes_from_drive_in_another_runtime(runtime, tmp_path):
    leave = 'course.leave_drive()\nimport os\nassert not os.path.exists("drive/MyDrive")'
    first = runtime("04_without_augmentation", leave, drive=True)
    assert "| 2, 1 epochs" in first
    assert "Drive is unmounted" in first
    model = (runtime.google / "stage-2" / "model.pth").read_bytes()
    second = runtime("05_with_augmentation", leave, drive=True)
    assert "stage 2, epoch" not in second  # it isn't trained again
    assert "| 2, 1 epochs" in second  # its results came from Drive, too
    assert "| 3, 1 epochs" in second
    for name in ("run.json", "stage-3/model.pth", "results.json"):
        assert (runtime.google / name).stat().st_size > 0
    assert (runtime.google / "stage-2" / "model.pth").read_bytes() == model


EXPLORE = """
import ipywidgets

explorer = browse_classes(images)
menu, page, caption, picture = explorer.children
menu.value = 33
print("ipywidgets", ipywidgets.__version__, caption.value, menu.label)
explorer = browse_augmentation(images, course)
*_, buttons, picture = explorer.children
before = picture.value
buttons.children[1].click()
print("drawn again:", picture.value != before)
"""


def test_the_explorers_work_with_colabs_ipywidgets(runtime, tmp_path, monkeypatch):
    # Colab's stand-in is there, too; both come before this environment's.
    packages = tmp_path / "packages"
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", packages]
    subprocess.run([*command, "ipywidgets==7.7.1", "ipython_genutils==0.2.0"], check=True)
    printed = runtime("00_data", EXPLORE)
    assert "ipywidgets 7.7.1 2 images; page 1 of 1 33: blue checks (2)\n" in printed
    assert "drawn again: True\n" in printed and "Traceback" not in printed


def test_a_clone_that_fails_is_a_sentence_and_nothing_runs_after_it(runtime, tmp_path):
    with pytest.raises(
        NotebookFailed, match="github.com/owner/missing can't be cloned. Check that it's public"
    ):
        runtime("00_data", repository="owner/missing")
    executed = nbformat.read("executed.ipynb", 4)
    first, *later = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert first.outputs
    assert not any(cell.outputs for cell in later)


def test_a_runtime_that_is_not_colabs_clones_the_course_too(runtime, monkeypatch):
    """Kaggle's or Studio Lab's, for example."""
    monkeypatch.delenv("GOOGLE")
    printed = runtime("00_data", "import course_lib\nprint('from', course_lib.__file__)")
    assert re.search(r"from .*content-00_data/course/course_lib", printed)


def test_without_a_course_or_an_address_there_is_one_sentence(runtime, monkeypatch):
    monkeypatch.delenv("GOOGLE")
    with pytest.raises(NotebookFailed, match="The course isn't here"):
        runtime("00_data", repository="")


def test_a_notebook_finds_the_course_in_the_folder_above(runtime, tmp_path, monkeypatch):
    """As in a checkout that isn't installed, opened in VS Code or PyCharm."""
    monkeypatch.delenv("GOOGLE")
    folder = tmp_path / "owner" / "course" / "notebooks"
    monkeypatch.chdir(folder)
    execute(folder / "00_data.py", tmp_path / "executed.ipynb")
