"""The wheel: what someone gets who installs the course without its repository."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IN_THE_WHEEL = """
import course_lib, course_lib.data.manifest as manifest, json
course = course_lib.open_course(preset="smoke")
names = sorted(json.loads(manifest.MANIFEST.read_bytes()))
print(json.dumps([course_lib.__file__, str(manifest.MANIFEST), names, str(course.folder)]))
"""


def test_the_wheel_carries_the_manifest_and_runs_go_to_the_current_folder(
    environment, monkeypatch, tmp_path
):
    monkeypatch.delenv("COURSE_HOME", raising=False)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        "installed",
    ]
    subprocess.run([*install, str(wheel)], cwd=tmp_path, check=True, capture_output=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "installed"))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", IN_THE_WHEEL], cwd=elsewhere, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    library, manifest, names, folder = json.loads(done.stdout.splitlines()[-1])
    assert Path(library).is_relative_to(tmp_path) and Path(manifest).is_relative_to(tmp_path)
    assert "shapes" in names and Path(folder) == elsewhere / "runs" / "shapes-smoke"
