"""What lies on Google Drive, whatever it's called, and whether that Drive is mounted."""

import os
import sys
import types
import unicodedata

import pytest

from course_lib import DiskError, SettingsError
from course_lib.homes import find_homes
from course_lib.storage import mounts
from course_lib.storage.files import write_text
from course_lib.storage.mounts import drive_root, require_mounted

COLABS = "drive {point} fuse.drive rw,nosuid,nodev,relatime,user_id=0,group_id=0 0 0\n"


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Sets what Linux says is mounted: table(text of /proc/mounts); file systems are pretended."""
    monkeypatch.setattr(mounts, "_mount_points", set())
    monkeypatch.setattr(mounts, "_lay_on", {})
    listed = tmp_path / "mounts"
    real = mounts.Path
    monkeypatch.setattr(
        mounts, "Path", lambda *parts: real(listed) if parts == ("/proc/mounts",) else real(*parts)
    )

    def set_table(text):
        listed.write_text("proc /proc proc rw 0 0\n" + text)

    set_table("")
    return set_table


@pytest.fixture
def mount_points(monkeypatch):
    """The mount points that the system knows of; a test changes them."""
    points = {"/"}
    monkeypatch.setattr(os.path, "ismount", lambda path: os.fspath(path) in points)
    return points


@pytest.mark.parametrize("name", sorted(mounts.NAMES))
@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_drives_own_names_are_known_in_both_spellings_of_their_letters(tmp_path, name, form):
    folder = tmp_path / unicodedata.normalize(form, name)
    assert drive_root(folder / "course" / "runs") == folder
    assert drive_root(tmp_path / f"{name} of mine") is None
    with pytest.raises(DiskError):
        require_mounted(folder / "course")
    with pytest.raises(DiskError):
        write_text(folder / "course" / "runs" / "results.json", "{}")
    assert not folder.exists()


def test_a_shortcut_is_on_drive_wherever_the_link_lies(tmp_path):
    """To what somebody has shared, from your own Drive or from the local disk; and the reverse."""
    shared = tmp_path / "drive" / ".shortcut-targets-by-id" / "1AbC" / "course"
    shared.mkdir(parents=True)
    (tmp_path / "drive" / "MyDrive").mkdir()
    (tmp_path / "drive" / "MyDrive" / "course").symlink_to(shared)
    (tmp_path / "course").symlink_to(shared)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "drive" / "MyDrive" / "local").symlink_to(tmp_path / "elsewhere")
    for path in ("drive/MyDrive/course/runs", "course/runs", "drive/MyDrive/local/runs"):
        assert drive_root(tmp_path / path)
    assert drive_root((tmp_path / "course").resolve() / "runs")
    assert drive_root(tmp_path / "elsewhere") is None


def test_on_macos_drive_is_known_whatever_its_language():
    cloud = mounts.Path("/Users/me/Library/CloudStorage")
    assert drive_root(cloud / "GoogleDrive-me@gmail.com" / "Neznámé" / "course")
    assert drive_root(cloud / "Dropbox" / "course") is None


def test_what_linux_says_is_mounted_counts_whatever_its_name(tmp_path, table):
    point = tmp_path / "my drive"
    table(COLABS.format(point=str(point).replace(" ", "\\040")))
    assert drive_root(point / "Unbekannt" / "course") == point
    assert drive_root(tmp_path / "my") is None
    table("")  # unmounted: what was Drive doesn't become a local folder
    assert drive_root(point / "Unbekannt") == point
    with pytest.raises(DiskError, match="my drive"):
        write_text(point / "Unbekannt" / "results.json", "{}")
    assert not point.exists()


def test_an_unmounted_mount_point_is_not_written_below(tmp_path, table, mount_points):
    """Its folder stays, and is one of the local disk."""
    for name in ("MyDrive", "gdrive"):
        point = tmp_path / name
        point.mkdir()
        table(COLABS.format(point=point))
        mount_points.add(os.fspath(point))
        require_mounted(point / "runs")
        mount_points.remove(os.fspath(point))
        table("")
        with pytest.raises(DiskError, match=name):
            require_mounted(point / "runs")
        with pytest.raises(DiskError, match=name):
            write_text(point / "runs" / "results.json", "{}")
        assert not list(point.iterdir())
        mount_points.add(os.fspath(point))  # mounted again
        write_text(point / "runs" / "results.json", "{}")


def test_a_drive_that_is_mounted_only_later_is_not_called_unmounted(tmp_path, table, mount_points):
    (tmp_path / "MyDrive").mkdir()
    require_mounted(tmp_path / "MyDrive" / "runs")
    mount_points.add(os.fspath(tmp_path / "MyDrive"))
    require_mounted(tmp_path / "MyDrive" / "runs")


def test_what_rclone_has_mounted_is_a_drive(tmp_path, table):
    table(f"gdrive: {tmp_path / 'cloud'} fuse.rclone rw,user_id=1000,group_id=1000 0 0\n")
    assert drive_root(tmp_path / "cloud" / "runs") == tmp_path / "cloud"


def test_a_home_on_a_disk_that_is_unmounted_is_not_created_anew(tmp_path, table, mount_points):
    """A USB disk, or a server's: its folder stays, and is one of another disk."""
    disk = tmp_path / "usb"
    disk.mkdir()
    mount_points.add(os.fspath(disk))
    home, _ = find_homes(str(disk / "runs"), drive=False)
    write_text(home / "pets" / "run.json", "{}")
    mount_points.remove(os.fspath(disk))
    disk.rename(tmp_path / "pulled out")
    disk.mkdir()
    with pytest.raises(DiskError, match="usb"):
        write_text(home / "pets" / "run.json", "{}")
    with pytest.raises(DiskError, match="usb"):
        find_homes(str(disk / "runs"), drive=False)
    assert not list(disk.iterdir())
    write_text(tmp_path / "elsewhere.txt", "x")
    disk.rmdir()
    (tmp_path / "pulled out").rename(disk)
    mount_points.add(os.fspath(disk))  # mounted again
    find_homes(str(disk / "runs"), drive=False)
    write_text(home / "pets" / "run.json", "[]")
    assert (home / "pets" / "run.json").read_text() == "[]"


# Mounting in Colab


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """A stand-in for Colab's package; its `mount` does what a test puts in."""
    package = types.ModuleType("colab")
    package.drive = types.ModuleType("drive")
    monkeypatch.setitem(sys.modules, "google.colab", package)
    monkeypatch.chdir(tmp_path)
    return package.drive


class MessageError(Exception):
    """What Colab raises if you refuse; it isn't a class that can be imported elsewhere."""


@pytest.mark.parametrize(
    "error",
    [
        MessageError("Error: credential propagation was unsuccessful"),
        ValueError("mount failed"),
        OSError("no network"),
    ],
)
def test_a_drive_that_cannot_be_mounted_is_a_settings_error_with_its_reason(colab, error, table):
    def refuse(point):
        raise error

    colab.mount = refuse
    with pytest.raises(SettingsError, match=str(error)):
        mounts.mount()
    assert drive_root("drive/model.pth") is None  # the report's own folder stays a local one


def test_the_mount_point_is_a_drive_from_then_on(colab, tmp_path, table):
    colab.mount = lambda point: os.makedirs(os.path.join(point, "MyDrive"))
    assert mounts.mount() == tmp_path / "drive" / "MyDrive"
    assert drive_root(tmp_path / "drive" / "Anything" / "runs") == tmp_path / "drive"


def test_outside_colab_there_is_a_sentence(monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab", raising=False)
    with pytest.raises(SettingsError, match="COURSE_HOME"):
        mounts.mount()
