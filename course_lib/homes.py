"""Where runs are kept: the folder of all runs, on a local disk and on Drive, and that of each."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import DiskError
from .settings import PRESETS, Settings
from .storage.drive import look_on_drive
from .storage.mounts import drive_root, mount, require_mounted, require_same_disk

CHECKOUT = Path(__file__).resolve().parent.parent


def find_homes(wanted: str, drive: bool) -> tuple[Path, Path | None]:
    """The folder of all runs on the local disk, and the one on Drive, if runs are copied there.

    wanted: the COURSE_HOME, or "". Raises DiskError, SettingsError.
    """
    local = _default_home()
    runs_on_drive = None
    if wanted:
        path = Path(os.path.abspath(os.path.expanduser(wanted)))
        if drive_root(path):
            look_on_drive(lambda: require_mounted(path))
            runs_on_drive = path
        else:
            local = path
    if drive and runs_on_drive is None:
        runs_on_drive = mount() / "runs"
    require_same_disk(local)  # or it would be created anew where an unmounted disk was
    try:
        local.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        advice = "Set COURSE_HOME to a folder that you can write to."
        raise DiskError(f"{local} can't be used ({error.strerror}). {advice}") from error
    return local, runs_on_drive


def _default_home() -> Path:
    """Where runs are kept without a COURSE_HOME: beside the code, or else in the current folder.

    Never on anybody's Drive, which may be shared, and never in Python's own folders.
    """
    is_checkout = (CHECKOUT / "pyproject.toml").exists()
    if is_checkout and not drive_root(CHECKOUT):
        return CHECKOUT / "runs"
    if not drive_root(Path.cwd()):
        return Path.cwd() / "runs"
    return Path.home() / "runs"


def folder_name(data_name: str, preset: str, settings: Settings) -> str:
    """`<data>-<preset>` and what differs from the preset: "tiny80-full-64px"."""
    usual, _ = PRESETS[preset]
    parts = [data_name, preset]
    for name, value in vars(settings).items():
        if value == getattr(usual, name):
            continue
        if name == "size":
            parts.append(f"{value}px")
        elif name == "precision":
            parts.append(value)
        else:
            parts.append(f"{name}{value}")
    return re.sub(r"[^\w.+-]+", "_", "-".join(parts))
