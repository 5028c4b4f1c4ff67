"""Where Google Drive is, and what is mounted: a path there must never turn into a local folder."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from pathlib import Path

from ..errors import DiskError, SettingsError

MOUNT_POINT = "drive"  # in Colab, below the working directory: the report's ./drive

# What Google Drive calls its uppermost folders: your own files, those of a group, those that others
# have shared with you, and your other computers. Where the system doesn't say what is mounted
# (macOS, Windows), these names are all there is to go by.
# fmt: off
NAMES = {
    "MyDrive", "My Drive", "내 드라이브", "マイドライブ", "我的云端硬盘", "我的雲端硬碟",
    "Мой диск", "Мій диск", "Meine Ablage", "Mon Drive", "Mi unidad", "Il mio Drive",
    "Meu Drive", "O meu disco", "Mijn Drive", "Min enhet", "Mit drev", "Min disk", "Oma Drive",
    "Mój dysk", "Můj disk", "Saját meghajtó", "Drive'ım", "Drive của tôi", "Drive Saya",
    "Shareddrives", "Shared drives", "공유 드라이브", "共有ドライブ", "共享云端硬盘",
    "共用雲端硬碟", "Общие диски", "Geteilte Ablagen", "Drive partagés",
    "Unidades compartidas", "Drive condivisi", "Drives compartilhados", "Gedeelde Drives",
    ".shortcut-targets-by-id", ".shortcut-targets", "Othercomputers", "Other computers",
    "다른 컴퓨터", "他のパソコン", "Andere Computer", "Autres ordinateurs",
}
# fmt: on
# Colab's, and the common ones on Linux; rclone also mounts what isn't Google's, but is as far away.
FILE_SYSTEMS = {"fuse.drive", "fuse.google-drive-ocamlfuse", "fuse.rclone"}

_mount_points: set[Path] = set()  # of Drives: once seen, a path below stays on Drive
_lay_on: dict[Path, Path] = {}  # folder of a Drive, or of all runs → the mount point it was on


def mount() -> Path:
    """Mount Google Drive in Colab, which asks you for permission; returns your folder, `MyDrive`.

    Raises SettingsError outside Colab, or if Drive can't be mounted.
    """
    if "google.colab" not in sys.modules:
        advice = "Elsewhere, set COURSE_HOME to a folder on your Drive."
        raise SettingsError(f"Google Drive can be mounted only in Colab. {advice}")
    from google.colab import drive  # pyright: ignore[reportMissingImports]

    mount_point = Path(MOUNT_POINT).resolve()
    try:
        drive.mount(str(mount_point))
    except Exception as error:  # of several kinds, none of them documented
        raise SettingsError(
            f"Google Drive can't be mounted ({error}). Run the cell again and allow access to all "
            "that Colab asks for, or turn Drive off in the form."
        ) from error
    _mount_points.add(mount_point)
    return mount_point / "MyDrive"


def drive_root(path: str | Path) -> Path | None:
    """The folder of a Google Drive that `path` lies in, mounted or not; None if it's elsewhere.

    A shortcut on Drive is a link, so both the path as it's written and what it leads to count.
    """
    _mount_points.update(_mounted_now())
    root = _root_above(Path(os.path.abspath(path)))
    if root is None:
        root = _root_above(Path(os.path.realpath(path)))
    return root


def require_mounted(path: str | Path) -> None:
    """Raise DiskError if `path` lies on a Google Drive that isn't mounted, or not any more.

    Likewise if it lies in another folder that was passed to `require_same_disk`.
    """
    root = drive_root(path)
    if root is not None:
        if not os.path.isdir(root):  # also if it dropped out
            raise DiskError(
                f"Google Drive isn't mounted: there is no {root}. Mount Drive, then run the cell "
                "again."
            )
        require_same_disk(root)
    path = Path(os.path.abspath(path))
    for folder in (path, *path.parents):
        if folder in _lay_on:
            require_same_disk(folder)


def require_same_disk(folder: Path) -> None:
    """Raise DiskError if the disk, or Drive, that a folder lay on the last time is unmounted."""
    mount_point = _mount_point_of(folder)
    before = _lay_on.get(folder, mount_point)
    if mount_point in before.parents:
        raise DiskError(
            f"What was mounted at {before} is gone: {folder} is only a folder below it now. Mount "
            "it again, then run the cell again."
        )
    _lay_on[folder] = mount_point


def _root_above(path: Path) -> Path | None:
    for folder in (path, *path.parents):
        if folder in _mount_points or _is_named_like_a_drive(folder):
            return folder
    return None


def _is_named_like_a_drive(folder: Path) -> bool:
    """Whether a folder has a name that only Google Drive gives; macOS may decompose letters."""
    if folder.parent.name == "CloudStorage" and folder.name.startswith("GoogleDrive-"):
        return True  # Drive for desktop on macOS, whatever its language
    return unicodedata.normalize("NFC", folder.name) in NAMES


def _mounted_now() -> list[Path]:
    """The mount points of Google Drives, from Linux's list of everything that is mounted."""
    try:
        table = Path("/proc/mounts").read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:  # another system
        return []
    found = []
    for line in table.splitlines():
        _, mount_point, file_system = line.split(" ")[:3]
        if file_system in FILE_SYSTEMS:
            found.append(Path(_unescaped(mount_point)))
    return found


def _unescaped(text: str) -> str:
    r"""A path of /proc/mounts, which writes a space as \040."""
    return re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text)


def _mount_point_of(folder: Path) -> Path:
    """The mount point of the file system that holds `folder`."""
    resolved = Path(os.path.realpath(folder))
    for place in (resolved, *resolved.parents):
        if os.path.ismount(place):
            return place
    return Path(resolved.anchor)
