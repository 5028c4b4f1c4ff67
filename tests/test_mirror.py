"""What travels between the local disk and Drive, at random: nothing is lost, the furthest wins."""

import errno
import io
import os
import tempfile
import zipfile
from pathlib import Path

import pytest
from faults import Died, watched
from hypothesis import given
from hypothesis import strategies as st

from course_lib import DiskError
from course_lib.storage import checkpoints, file_pairs
from course_lib.storage.files import write_json, write_sealed
from course_lib.storage.mirror import Mirror
from course_lib.storage.run_folder import DELETED, RECORD
from course_lib.storage.versions import Side, newer_side

STAGE = "stage-2"
HERE, OTHER, DRIVE = "a", "b", "MyDrive/run"  # two computers and their Drive
places = st.sampled_from([HERE, OTHER, DRIVE])
computers = st.sampled_from([HERE, OTHER])


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "MyDrive").mkdir()
    return tmp_path


def between(folder, computer=HERE):
    """The mirror of a computer, as after a restart of its kernel."""
    return Mirror(folder / computer, folder / DRIVE, lambda: None)


def put(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def files_below(folder):
    """All files, the hidden record excepted."""
    return [path for path in folder.rglob("*") if path.is_file() and path.name != RECORD.name]


def save(stage, epoch, branch=0, training=""):
    """A checkpoint at a position of a training, and the `model.pth` that belongs to it."""
    data = f"checkpoint {epoch} {branch}{training}".encode()
    parts = [f"checkpoint-{epoch:05d}-0000000", training, checkpoints.digest_of(data)]
    path = stage / ("-".join(filter(None, parts)) + ".pt")
    put(path, data)
    put(stage / "model.pth", model_file(f"{epoch} {branch}{training}"))
    checkpoints.delete_older(path)


def model_file(text):
    """A zip, as torch.save writes one, that says which checkpoint it belongs to."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo("weights"), text)
    return buffer.getvalue()


def furthest(stage):
    """The content of the furthest good checkpoint, "checkpoint 3 0", or None."""
    path = checkpoints.newest_good(stage)
    return path and path.read_text()


def epoch_of(text):
    return 0 if text is None else int(text.split()[1])


# Files that aren't a stage's


@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("edit"), places),
            st.tuples(st.just("open"), computers),
            st.tuples(st.just("wait"), computers),
        ),
        max_size=25,
    )
)
def test_a_version_is_replaced_only_by_one_that_was_made_from_it(steps):
    """Two people edit a note on two computers and on Drive itself; copies are made in between."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "MyDrive").mkdir()
        notes = {place: folder / place / "notes.md" for place in (HERE, OTHER, DRIVE)}
        made_from = {}  # version → all the versions before it
        for number, (step, place) in enumerate(steps):
            before = {path: path.read_text() for path in notes.values() if path.exists()}
            if step == "edit":
                old = before.get(notes[place])
                new = f"version {number}."
                made_from[new] = {old, *made_from.get(old, ())}
                put(notes[place], new.encode())
                continue
            if step == "open":
                between(folder, place).restore()
            else:
                everything = between(folder, place).copy_all()
                if everything and notes[place] in before:
                    on_drive = notes[DRIVE].read_text()
                    assert before[notes[place]] in {on_drive, *made_from[on_drive]}
            for path, text in before.items():
                assert text in {path.read_text(), *made_from[path.read_text()]}


def test_what_both_sides_have_changed_is_reported_once_and_named(folder, capsys):
    put(folder / HERE / "notes.md", b"ours")
    put(folder / DRIVE / "notes.md", b"theirs")
    put(folder / HERE / "other.md", b"copied all the same")
    ours = between(folder)
    ours.restore()
    for _ in range(3):
        assert not ours.copy_all()
    assert capsys.readouterr().out.count("notes.md") == 1
    assert (folder / HERE / "notes.md").read_text() == "ours"
    assert (folder / DRIVE / "notes.md").read_text() == "theirs"
    assert (folder / DRIVE / "other.md").exists()
    (folder / HERE / "notes.md").rename(folder / HERE / "mine.md")  # as the message advises
    assert ours.copy_all() and (folder / DRIVE / "mine.md").read_text() == "ours"


def test_a_name_that_would_write_to_the_terminal_is_escaped(folder, capsys):
    name = "\x1b[2Jnotes.md"
    put(folder / HERE / name, b"ours")
    put(folder / DRIVE / name, b"theirs")
    between(folder).restore()
    assert "notes.md" in (out := capsys.readouterr().out) and "\x1b" not in out


def test_exports_that_both_sides_have_changed_are_no_loss(folder):
    put(folder / HERE / "results.json", b"{}")
    put(folder / DRIVE / "results.json", b"[]")
    ours = between(folder)
    ours.restore()
    assert ours.copy_all()
    assert (folder / DRIVE / "results.json").read_text() == "[]"


@pytest.mark.parametrize("left", [0, 1, 700])
@pytest.mark.parametrize("filled_up", [0, 99])
def test_a_file_that_drive_has_torn_is_written_again(folder, left, filled_up):
    text = b"an evening's work; " * 50
    put(folder / HERE / "notes.md", text)
    assert between(folder).copy_all()
    put(folder / DRIVE / "notes.md", text[:left] + bytes(filled_up))
    between(folder).restore()
    assert between(folder).copy_all()
    for place in (HERE, DRIVE):
        assert (folder / place / "notes.md").read_bytes() == text


@pytest.mark.parametrize("damaged", [HERE, DRIVE])
@pytest.mark.parametrize(
    "name",
    ["run.json", "stage-2/model.pth", "stage-2/measured.json", "trials/0123456789abcdef.json"],
)
def test_a_damaged_file_with_a_checksum_never_replaces_a_good_one(folder, damaged, name):
    """Whatever happened to it: one bit, in either place; the good one comes back."""
    save(folder / HERE / STAGE, 3)
    if name.endswith("json"):
        write_sealed(folder / HERE / name, {"accuracy": 0.71})
    else:
        put(folder / HERE / name, model_file("3 0"))
    assert between(folder).copy_all()
    good = (folder / HERE / name).read_bytes()
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 1
    put(folder / damaged / name, bad)
    between(folder).copy_all()
    between(folder).restore()
    assert between(folder).copy_all()
    for place in (HERE, DRIVE):
        assert (folder / place / name).read_bytes() == good


def encrypted(data):
    """A zip with the flag of a password in it, as a protected document has."""
    data = bytearray(data)
    data[6] |= 1
    data[data.find(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


UNTESTABLE = [encrypted(model_file("new")), b"\xd0\xcf\x11\xe0 another format", b"PK: a text"]


@pytest.mark.parametrize("new", UNTESTABLE)
@pytest.mark.parametrize("side", [HERE, DRIVE])
@pytest.mark.parametrize(
    "name", ["report.docx", "model.pth", "mine/measured.json", "trials/mine.json"]
)
def test_of_the_users_own_files_the_newer_one_wins_whatever_can_be_checked(folder, new, side, name):
    old = folder / HERE / name
    if name.endswith("json"):
        old.parent.mkdir(parents=True)
        write_sealed(old, {"accuracy": 0.71})
    else:
        put(old, model_file("old"))
    assert between(folder).copy_all()
    put(folder / side / name, new)
    between(folder).copy_all()
    between(folder).restore()
    assert (folder / side / name).read_bytes() == new
    assert between(folder).copy_all() == (side == HERE or old.read_bytes() == new)


@pytest.mark.parametrize("damage", ["missing", "torn", "another Drive's", "a list", "a number"])
def test_without_its_record_nothing_is_overwritten(folder, damage, capsys):
    put(folder / HERE / "notes.md", b"first")
    assert between(folder).copy_all()
    put(folder / HERE / "notes.md", b"ours")
    record = folder / HERE / RECORD
    if damage == "missing":
        record.unlink()
    elif damage == "torn":
        record.write_bytes(record.read_bytes()[:50])
    elif damage == "a list":
        write_sealed(record, [])
    elif damage == "a number":
        write_sealed(record, {"drive": str(folder / DRIVE), "files": 5})
    else:
        write_sealed(record, {"drive": "/elsewhere", "files": {}})
    assert not between(folder).copy_all() and "notes.md" in capsys.readouterr().out
    assert (folder / DRIVE / "notes.md").read_text() == "first"
    assert (folder / HERE / "notes.md").read_text() == "ours"


def test_one_file_that_cannot_be_copied_does_not_hold_up_the_others(folder):
    save(folder / HERE / STAGE, 3)
    for name in ("a.txt", "b.txt", "run.json", "z.txt"):
        put(folder / HERE / name, b"x")

    def fail(kind, path):
        if kind == "open" and Path(path).name in ("a.txt", "model.pth"):
            raise PermissionError(13, "Permission denied", str(path))

    with watched(folder / HERE, fail), pytest.raises(PermissionError, match=r"a\.txt"):
        between(folder).copy_all()
    for name in ("run.json", "b.txt", "z.txt"):
        assert (folder / DRIVE / name).exists()


@pytest.mark.parametrize("error", [errno.EOPNOTSUPP, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("kind", ["open", "read"])
@pytest.mark.parametrize("name", ["notes.gdoc", "stage-2/notes.gdoc", "mine/deep/a.gsheet"])
def test_a_file_of_yours_that_cannot_be_read_on_drive_stays_there(
    folder, name, kind, error, capsys
):
    """Colab refuses to read Google's own documents."""
    put(folder / DRIVE / name, b"a document")
    put(folder / DRIVE / "z.txt", b"restored all the same")
    save(folder / DRIVE / STAGE, 3)

    def fail(done, path):
        if done == kind and Path(path) == folder / DRIVE / name:
            raise OSError(error, os.strerror(error), str(path))

    ours = between(folder)
    with watched(folder / DRIVE, fail):
        for _ in range(2):
            ours.restore()
            assert ours.copy_all()  # Drive has everything
    assert capsys.readouterr().out.count(Path(name).name) == 1
    assert furthest(folder / HERE / STAGE) == "checkpoint 3 0"
    assert (folder / HERE / "z.txt").exists() and not (folder / HERE / name).exists()
    assert (folder / DRIVE / name).read_bytes() == b"a document"


@pytest.mark.parametrize(
    "name", ["run.json", "submissions.json", "trials/0123456789abcdef.json", "stage-2/model.pth"]
)
def test_a_file_of_the_courses_that_cannot_be_read_on_drive_is_an_error(folder, name):
    save(folder / DRIVE / STAGE, 3)
    put(folder / DRIVE / name, b"x")

    def fail(kind, path):
        if kind == "open" and Path(path) == folder / DRIVE / name:
            raise PermissionError(13, "Permission denied", str(path))

    with watched(folder / DRIVE, fail), pytest.raises(PermissionError, match=Path(name).name):
        between(folder).restore()


@pytest.mark.parametrize("side", [HERE, DRIVE])
def test_a_file_of_yours_too_large_for_memory_stays_where_it_is(folder, side, monkeypatch, capsys):
    monkeypatch.setattr(file_pairs, "LARGEST", 10_000)
    put(folder / side / "pets.zip", b"x" * 10_001)
    put(folder / side / "notes.md", b"x" * 10_000)
    save(folder / side / STAGE, 3)
    put(folder / side / STAGE / "model.pth", model_file("x" * 10_001))  # the course's own
    ours = between(folder)
    for _ in range(2):
        ours.restore()
        assert ours.copy_all() == (side == DRIVE)
    other = DRIVE if side == HERE else HERE
    assert not (folder / other / "pets.zip").exists() and (folder / side / "pets.zip").exists()
    for name in ("notes.md", f"{STAGE}/model.pth"):
        assert (folder / other / name).read_bytes() == (folder / side / name).read_bytes()
    assert capsys.readouterr().out.count("pets.zip") == 1


def test_a_file_that_does_not_fit_into_memory_does_not_hold_up_the_others(folder, monkeypatch):
    real = file_pairs.content_of

    def content_of(path):
        if path.name == "a.txt":
            raise MemoryError
        return real(path)

    put(folder / HERE / "a.txt", b"x")
    save(folder / HERE / STAGE, 3)
    monkeypatch.setattr(file_pairs, "content_of", content_of)
    with pytest.raises(MemoryError):
        between(folder).copy_all()
    assert furthest(folder / DRIVE / STAGE) == "checkpoint 3 0"


@pytest.mark.parametrize("yours", ["docker", "docker/inside", f"{STAGE}/docker"])
@pytest.mark.parametrize("side", [HERE, DRIVE])
def test_a_folder_of_yours_that_cannot_be_read_does_not_hold_up_the_others(
    folder, yours, side, monkeypatch, capsys
):
    (folder / side / yours).mkdir(parents=True)
    put(folder / side / "z.txt", b"copied all the same")
    save(folder / side / STAGE, 3)
    forbid(monkeypatch, folder / side / yours)
    ours = between(folder)
    for _ in range(2):
        ours.restore()
        assert ours.copy_all() == (side == DRIVE)
    other = DRIVE if side == HERE else HERE
    assert furthest(folder / other / STAGE) == "checkpoint 3 0"
    assert (folder / other / "z.txt").exists()
    assert capsys.readouterr().out.count("docker") == 1


@pytest.mark.parametrize("name", ["", STAGE, "trials", "guesses"])
def test_a_folder_of_the_courses_that_cannot_be_read_on_drive_is_an_error(
    folder, name, monkeypatch
):
    save(folder / DRIVE / STAGE, 3)
    (folder / DRIVE / name).mkdir(exist_ok=True)
    forbid(monkeypatch, folder / DRIVE / name)
    with pytest.raises(PermissionError):
        between(folder).restore()


def forbid(monkeypatch, folder):
    """Have the system refuse to list a folder, also to root."""
    real = os.scandir

    def scandir(path="."):
        if not isinstance(path, int) and Path(path) == folder:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_a_trial_that_two_computers_have_run_is_no_conflict(folder, capsys):
    """Only the times in it differ; another run's note of that kind would still be one."""
    trial = "trials/0123456789abcdef.json"
    write_sealed(folder / HERE / trial, [{"loss": 1.0, "seconds": 2.0}])
    write_sealed(folder / DRIVE / trial, [{"loss": 1.0, "seconds": 3.0}])
    before = (folder / HERE / trial).read_bytes(), (folder / DRIVE / trial).read_bytes()
    ours = between(folder)
    ours.restore()
    assert ours.copy_all() and capsys.readouterr().out == ""
    assert ((folder / HERE / trial).read_bytes(), (folder / DRIVE / trial).read_bytes()) == before
    (folder / DRIVE / trial).write_bytes(before[1][:30])  # a damaged one still gives way
    assert between(folder).copy_all()
    assert (folder / DRIVE / trial).read_bytes() == before[0]


def test_what_is_on_drive_is_read_when_it_is_said_to_be_there(folder):
    """Torn with the same size and time, long after it was checked."""
    save(folder / HERE / STAGE, 3)
    put(folder / HERE / "notes.md", b"precious")
    ours = between(folder)
    assert ours.copy_all()
    before = {path: path.read_bytes() for path in (folder / DRIVE).rglob("*") if path.is_file()}
    for path, data in before.items():
        found = path.stat()
        path.write_bytes(bytes(len(data)))
        os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert ours.copy_all() and len(before) == 3
    assert {path: path.read_bytes() for path in before} == before


def test_a_drive_that_keeps_nothing_is_an_error_and_no_endless_loop(folder):
    put(folder / HERE / "notes.md", b"x")

    def forget(kind, path):
        if kind == "replace":
            Path(path).unlink()

    with watched(folder / DRIVE, lambda kind, path: None, forget), pytest.raises(DiskError):
        between(folder).copy_all()


def test_links_pipes_and_hidden_files_stay_where_they_are(folder, capsys):
    put(folder / "precious" / "diary.txt", b"x")
    put(folder / HERE / ".hidden", b"x")
    (folder / HERE / "link").symlink_to(folder / "precious")
    (folder / HERE / "loop").symlink_to(folder / HERE)
    (folder / HERE / "nowhere").symlink_to(folder / "gone")
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / HERE / "pipe")
    put(folder / HERE / "notes.md", b"x")
    (folder / HERE / "mine").mkdir()
    (folder / HERE / "mine" / "deep").symlink_to(folder / "precious")
    ours = between(folder)
    for _ in range(2):
        assert not ours.copy_all()  # what is in the linked folders isn't on Drive
    assert [path.name for path in (folder / DRIVE).rglob("*")] == ["notes.md"]
    printed = capsys.readouterr().out
    for name in ("'link'", "'loop'", "'mine/deep'"):
        assert printed.count(name) == 1


@pytest.mark.parametrize("killed", ["restore", "copy"])
def test_killed_after_any_file_a_later_change_on_one_side_is_still_copied(folder, killed):
    """The files before it were the same on both sides, and that isn't forgotten."""
    put(folder / HERE / "a.md", b"version 1")
    assert between(folder).copy_all()
    source = HERE if killed == "copy" else DRIVE
    put(folder / source / "a.md", b"version 2")
    put(folder / source / "b.md", b"x")

    def die(kind, path):
        if kind == "open" and Path(path).name == "b.md":
            raise Died

    with watched(folder / source, die), pytest.raises(Died):
        if killed == "copy":
            between(folder).copy()
        else:
            between(folder).restore()
    for place in (HERE, DRIVE):
        assert (folder / place / "a.md").read_bytes() == b"version 2"
    put(folder / HERE / "a.md", b"the third")
    assert between(folder).copy_all()
    assert (folder / DRIVE / "a.md").read_bytes() == b"the third"


@pytest.mark.parametrize("name", ["a" * 251 + ".md", "가" * 84 + ".md", "é" * 120, "a" * 228])
@pytest.mark.parametrize("side", [HERE, DRIVE])
def test_a_name_as_long_as_file_systems_allow_is_copied(folder, name, side):
    put(folder / side / name, b"x")
    ours = between(folder)
    ours.restore()
    assert ours.copy_all()
    for place in (HERE, DRIVE):
        assert [path.name for path in files_below(folder / place)] == [name]


@pytest.mark.parametrize("side, other", [(HERE, DRIVE), (DRIVE, HERE)])
@pytest.mark.parametrize("name", ["notes", "mine/notes"])
def test_a_file_here_and_a_folder_there_is_a_change_on_both_sides(
    folder, side, other, name, capsys
):
    put(folder / side / name, b"a file")
    put(folder / other / name / "deep" / "a.txt", b"in a folder")
    put(folder / HERE / "z.txt", b"copied all the same")
    ours = between(folder)
    for _ in range(2):
        ours.restore()
        assert not ours.copy_all()
    assert capsys.readouterr().out.count(name) == 1
    assert (folder / side / name).read_bytes() == b"a file"
    assert (folder / other / name / "deep" / "a.txt").read_bytes() == b"in a folder"
    assert (folder / DRIVE / "z.txt").exists()
    (folder / side / name).rename(folder / side / "renamed")  # as the message advises
    ours.restore()
    assert ours.copy_all()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
@pytest.mark.parametrize("side, other", [(HERE, DRIVE), (DRIVE, HERE)])
def test_a_pipe_in_a_files_place_keeps_nobody_waiting(folder, side, other):
    put(folder / side / "mine" / "notes.md", b"x")
    (folder / other / "mine").mkdir(parents=True)
    os.mkfifo(folder / other / "mine" / "notes.md")
    ours = between(folder)
    ours.restore()
    assert ours.copy_all() == (side == DRIVE)


@pytest.mark.parametrize("side, other", [(HERE, DRIVE), (DRIVE, HERE)])
def test_nothing_is_written_into_a_folder_that_is_a_link(folder, side, other, capsys):
    put(folder / "friend" / "diary.txt", b"theirs")
    (folder / other).mkdir(parents=True)
    (folder / other / "mine").symlink_to(folder / "friend")
    put(folder / side / "mine" / "diary.txt", b"ours")
    put(folder / side / "mine" / "more" / "a.txt", b"ours")
    ours = between(folder)
    ours.restore()
    assert not ours.copy_all()  # either ours isn't there, or what our link leads to
    assert capsys.readouterr().out.count("mine") == 1
    assert [path.name for path in (folder / "friend").iterdir()] == ["diary.txt"]
    assert (folder / "friend" / "diary.txt").read_bytes() == b"theirs"


# Stages


@pytest.mark.parametrize("linked", [HERE, DRIVE])
@pytest.mark.parametrize("trained", [[], [HERE], [DRIVE], [HERE, DRIVE]])
def test_a_stage_whose_folder_is_a_link_is_left_alone(folder, linked, trained, capsys):
    friend = folder / "friend"
    for epoch in range(1, 5):
        data = f"checkpoint {epoch} 0".encode()
        put(friend / f"checkpoint-{epoch:05d}-0000000-{checkpoints.digest_of(data)}.pt", data)
    put(friend / "model.pth", model_file("friend"))
    (folder / linked).mkdir(parents=True)
    (folder / linked / STAGE).symlink_to(friend)
    save(folder / HERE / "stage-1", 3)
    for side in trained:
        if side != linked:
            save(folder / side / STAGE, 9)
    before = {path: path.read_bytes() for path in friend.iterdir()}
    ours = between(folder)
    for _ in range(2):
        ours.restore()
        assert ours.copy_all() == (linked == DRIVE and HERE not in trained)
    assert capsys.readouterr().out.count(STAGE) == 1
    assert {path: path.read_bytes() for path in friend.iterdir()} == before
    assert furthest(folder / DRIVE / "stage-1") == "checkpoint 3 0"


@pytest.mark.parametrize("name", ["best", "stage-2/best", "stage-2-kept", "stage-best", "trials"])
@pytest.mark.parametrize("side, other", [(HERE, DRIVE), (DRIVE, HERE)])
def test_a_users_copies_of_checkpoints_all_travel_and_all_stay(folder, name, side, other):
    save(folder / HERE / STAGE, 9)
    copies = {}
    for epoch in range(1, 6):
        data = f"checkpoint {epoch} 0".encode()
        file = f"checkpoint-{epoch:05d}-0000000-{checkpoints.digest_of(data)}.pt"
        copies[file] = data
        put(folder / side / name / file, data)
    for _ in range(2):
        ours = between(folder)
        ours.restore()
        assert ours.copy_all()
    for place in (side, other) if side == DRIVE else (HERE, DRIVE):
        found = {path.name: path.read_bytes() for path in (folder / place / name).iterdir()}
        assert found == copies


steps_of_training = st.one_of(
    st.tuples(st.just("train"), computers, st.integers(1, 9), st.integers(0, 2)),
    st.tuples(st.just("open"), computers),
    st.tuples(st.just("wait"), computers),
)
accidents = st.tuples(
    st.just("damage"),
    places,
    st.integers(0, 2),  # which file
    st.sampled_from(["torn", "flipped", "empty", "deleted"]),
)


def damage(path, how):
    data = bytearray(path.read_bytes())
    if how == "deleted":
        path.unlink()
        return
    if how == "torn":
        data = data[: len(data) // 2]
    elif how == "empty":
        data = b""
    elif data:
        data[len(data) // 2] ^= 1
    path.write_bytes(data)


@given(steps=st.lists(st.one_of(steps_of_training, accidents), max_size=25))
def test_the_furthest_good_checkpoint_wins_and_none_is_lost(steps):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "MyDrive").mkdir()
        for step, place, *more in steps:
            stage = folder / place / STAGE
            theirs = folder / DRIVE / STAGE
            if step == "train":
                epoch = epoch_of(furthest(stage)) + more[0]  # training continues from there
                save(stage, epoch, more[1])
            elif step == "damage":
                files = sorted(stage.glob("*"))
                if files:
                    damage(files[more[0] % len(files)], more[1])
            else:
                here, there = furthest(stage), furthest(theirs)
                if step == "open":
                    between(folder, place).restore()
                    is_behind = epoch_of(here) < epoch_of(there)  # a tie isn't
                    assert furthest(stage) == (there if is_behind else here)
                    assert furthest(theirs) == there
                else:
                    between(folder, place).copy_all()
                    is_behind = epoch_of(there) < epoch_of(here)
                    assert furthest(theirs) == (here if is_behind else there)
                    assert furthest(stage) == here


@given(steps=st.lists(steps_of_training, max_size=25))
def test_model_pth_belongs_to_the_furthest_checkpoint_everywhere(steps):
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "MyDrive").mkdir()
        for step, place, *more in steps:
            stage = folder / place / STAGE
            if step == "train":
                save(stage, epoch_of(furthest(stage)) + more[0], more[1])
            elif step == "open":
                between(folder, place).restore()
            else:
                complete = between(folder, place).copy_all()
                here, there = furthest(stage), furthest(folder / DRIVE / STAGE)
                assert complete == (here == there or epoch_of(here) < epoch_of(there))
            for place in (HERE, OTHER, DRIVE):
                stage = folder / place / STAGE
                if furthest(stage):
                    expected = model_file(furthest(stage).removeprefix("checkpoint "))
                    assert (stage / "model.pth").read_bytes() == expected
                    assert len(checkpoints.newest_first(stage)) <= 4


A, B, NONE = "aaaaaaaa", "bbbbbbbb", ""  # ids of trainings; earlier versions drew none


def stages(folder):
    """What both folders of the stage contain: {path: bytes}."""
    found = {}
    for place in (HERE, DRIVE):
        for path in (folder / place / STAGE).iterdir():
            found[path] = path.read_bytes()
    return found


def assert_neither_is_touched(folder, capsys):
    """Opening and waiting change nothing in the stage; it's reported once, and the rest copied."""
    before = stages(folder)
    put(folder / HERE / "notes.md", b"copied all the same")
    ours = between(folder)
    for _ in range(2):
        ours.restore()
        assert not ours.copy_all()
    assert stages(folder) == before
    assert capsys.readouterr().out.count(STAGE) == 1
    assert (folder / DRIVE / "notes.md").exists()


@pytest.mark.parametrize("branches", [(0, 1), (1, 0)])
def test_of_two_at_the_same_position_neither_is_overwritten(folder, branches, capsys):
    for place, branch in zip((HERE, DRIVE), branches):
        save(folder / place / STAGE, 3, branch, A)
    assert_neither_is_touched(folder, capsys)


@pytest.mark.parametrize("epochs", [(3, 7), (7, 3), (3, 3)])
@pytest.mark.parametrize("trainings", [(A, B), (A, NONE), (NONE, A)])
def test_of_two_trainings_neither_is_overwritten_however_far_it_is(
    folder, trainings, epochs, capsys
):
    for place, training, epoch in zip((HERE, DRIVE), trainings, epochs):
        save(folder / place / STAGE, epoch - 1, training=training)
        save(folder / place / STAGE, epoch, training=training)
    assert_neither_is_touched(folder, capsys)


@pytest.mark.parametrize("place", [HERE, DRIVE])
@pytest.mark.parametrize("epoch", [1, 9])
@pytest.mark.parametrize("theirs", [B, NONE])
def test_checkpoints_of_another_training_push_none_off(folder, place, epoch, theirs, capsys):
    """Somebody copies them into the stage's folder, on either side."""
    save(folder / HERE / STAGE, 3, training=A)
    save(folder / HERE / STAGE, 4, training=A)
    assert between(folder).copy_all()
    for further in range(3):
        save(folder / place / STAGE, epoch + further, training=theirs)
    assert_neither_is_touched(folder, capsys)
    left = [
        checkpoints.training_of(path) for path in checkpoints.newest_first(folder / place / STAGE)
    ]
    assert sorted(left) == sorted([A, A, theirs, theirs])


def test_what_was_started_over_is_not_copied_back_unless_drive_has_it_again(folder, capsys):
    save(folder / HERE / STAGE, 3, training=A)
    write_sealed(folder / DRIVE / DELETED, [A, NONE])
    ours = between(folder)
    for _ in range(2):
        ours.restore()
        assert not ours.copy_all()
    assert capsys.readouterr().out.count(STAGE) == 1
    assert furthest(folder / DRIVE / STAGE) is None
    save(folder / DRIVE / STAGE, 3, training=A)  # by hand, from a backup
    save(folder / HERE / STAGE, 4, training=A)
    assert between(folder).copy_all() and furthest(folder / DRIVE / STAGE).startswith(
        "checkpoint 4"
    )


@pytest.mark.parametrize("mine", [model_file("mine"), b"what PyTorch 1.5 wrote", b""])
@pytest.mark.parametrize(("side", "other"), [(HERE, DRIVE), (DRIVE, HERE)])
def test_a_model_pth_of_yours_is_kept_where_the_other_sides_takes_its_place(
    folder, side, other, mine, capsys
):
    save(folder / other / STAGE, 3)
    put(folder / side / STAGE / "model.pth", mine)
    ours = between(folder)
    ours.restore()
    ours.copy_all()
    for place in (side, other):
        assert (folder / place / STAGE / "model.pth").read_bytes() == model_file("3 0")
    if mine:  # of an empty file, nothing is lost
        assert (folder / side / STAGE / "model-1.pth").read_bytes() == mine
    assert ("model-1.pth" in capsys.readouterr().out) == bool(mine)


def test_the_model_pth_of_an_earlier_epoch_is_replaced_without_leaving_copies(folder):
    for epoch in (1, 2, 3):
        save(folder / HERE / STAGE, epoch)
        assert between(folder).copy_all()
        between(folder, OTHER).restore()
    assert not list(folder.rglob("model-*.pth"))
    assert (folder / OTHER / STAGE / "model.pth").read_bytes() == model_file("3 0")


@pytest.mark.parametrize("ahead, behind", [(HERE, DRIVE), (DRIVE, HERE)])
def test_an_unfinished_stage_does_not_get_the_model_of_an_earlier_one(folder, ahead, behind):
    save(folder / behind / STAGE, 3)
    save(folder / ahead / STAGE, 7)
    (folder / ahead / STAGE / "model.pth").unlink()
    if behind == DRIVE:
        between(folder).restore()
    else:
        assert between(folder).copy_all()
    assert not (folder / ahead / STAGE / "model.pth").exists()


def test_two_checkpoints_are_kept_on_drive_and_older_ones_do_not_come_back(folder):
    """We have 10 and 4, Drive has 8: 4 isn't copied again and again."""
    save(folder / HERE / STAGE, 4)
    save(folder / HERE / STAGE, 10)
    save(folder / DRIVE / STAGE, 8)
    assert between(folder).copy_all()
    names = [path.name[:16] for path in checkpoints.newest_first(folder / DRIVE / STAGE)]
    assert names == ["checkpoint-00010", "checkpoint-00008"]


def test_the_users_own_files_in_a_stages_folder_are_the_users(folder):
    save(folder / HERE / STAGE, 3)
    put(folder / HERE / STAGE / "notes.md", b"an evening's work")
    save(folder / DRIVE / STAGE, 7)
    put(folder / DRIVE / STAGE / "notes.md", b"something else")
    ours = between(folder)
    ours.restore()
    assert not ours.copy_all()
    assert furthest(folder / HERE / STAGE) == "checkpoint 7 0"
    assert (folder / HERE / STAGE / "notes.md").read_bytes() == b"an evening's work"
    assert (folder / DRIVE / STAGE / "notes.md").read_bytes() == b"something else"


@pytest.mark.parametrize("trained", [HERE, DRIVE, "neither", "both"])
def test_the_side_that_has_trained_says_in_run_json_how_it_began(folder, trained):
    for place in (HERE, DRIVE):
        write_json(folder / place / "run.json", f"began {place}")
        if trained in (place, "both"):
            save(folder / place / STAGE, 3)
    ours = between(folder)
    ours.restore()
    assert ours.copy_all() == (trained != "both")  # then it's unknown
    expected = {HERE: [HERE, HERE], "both": [HERE, DRIVE]}.get(trained, [DRIVE, DRIVE])
    for place, began in zip((HERE, DRIVE), expected):
        assert (folder / place / "run.json").read_text() == f'"began {began}"\n'


# Single decisions


@given(ours=st.binary(), theirs=st.binary(), last=st.binary())
def test_which_version_is_newer(ours, theirs, last):
    side = newer_side(ours, theirs, checkpoints.digest_of(last))
    if ours == theirs:
        assert side is Side.NEITHER
    elif ours.startswith(theirs.rstrip(b"\0")):
        assert side is Side.HERE
    else:
        assert side is {theirs: Side.HERE, ours: Side.DRIVE}.get(last, Side.UNKNOWN)
