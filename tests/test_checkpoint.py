"""Checkpoints: whole or not at all, and whatever happens to the newest, the one before it is still there."""

import json
import os
import resource
from contextlib import contextmanager

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from course_lib import CheckpointError, checkpoint, files


def state(number):
    """A state as a run saves it: tensors of several kinds and plain Python."""
    return {
        "model": {"weight": torch.full((40, 30), float(number)), "count": torch.tensor(number)},
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3, dtype=torch.bfloat16)}}, "groups": [{"lr": 0.01}]},
        "history": [{"epoch": 1, "loss": 0.5, "heldout_accuracy": None}],
        "number": number,
    }


def newest_number(folder, told=None):
    found = checkpoint.load_newest(folder, (told if told is not None else []).append)
    return found and found["number"]


def names(folder):
    return sorted(os.listdir(folder))


@pytest.fixture
def two(tmp_path):
    """A folder with the checkpoints 1 and 2."""
    for number in (1, 2):
        checkpoint.save(tmp_path, state(number), epoch=number, step=0)
    return tmp_path


def test_what_was_saved_comes_back(tmp_path):
    checkpoint.save(tmp_path / "new" / "folder", state(7), epoch=3, step=96)
    found, saved = checkpoint.load_newest(tmp_path / "new" / "folder"), state(7)
    assert torch.equal(found["model"]["weight"], saved["model"]["weight"])
    assert found["optimizer"]["state"][0]["momentum_buffer"].dtype == torch.bfloat16
    assert found["history"] == saved["history"] and found["optimizer"]["groups"] == saved["optimizer"]["groups"]


def test_without_a_checkpoint_there_is_none(tmp_path):
    told = []
    assert newest_number(tmp_path, told) is None and newest_number(tmp_path / "not there", told) is None
    assert told == []


def test_the_newest_is_the_furthest_and_only_two_are_kept(tmp_path):
    for epoch, step in [(0, 32), (0, 64), (1, 0), (9, 1280), (10, 0), (10, 32)]:
        checkpoint.save(tmp_path, state(epoch * 10_000 + step), epoch, step)
        assert newest_number(tmp_path) == epoch * 10_000 + step
        assert len(list(tmp_path.glob("*.pt"))) <= 2
    assert len(names(tmp_path)) == 4  # two checkpoints, each with its seal


@given(
    where=st.floats(0, 1, exclude_max=True), damage=st.sampled_from(["flip a bit", "cut off", "add a byte", "zeros"])
)
@example(where=0.0, damage="cut off")
def test_any_damage_to_the_newest_is_noticed_and_the_one_before_is_taken(tmp_path, where, damage):
    for number in (1, 2):
        checkpoint.save(tmp_path, state(number), epoch=number, step=0)
    newest = max(tmp_path.glob("*.pt"))
    data = bytearray(newest.read_bytes())
    offset = int(where * len(data))
    if damage == "flip a bit":
        data[offset] ^= 1 << offset % 8
    elif damage == "cut off":
        del data[offset:]
    elif damage == "add a byte":
        data.insert(offset, data[offset] ^ 255)
    else:
        data[offset] = data[offset] ^ 255
        data[offset + 1 :] = bytes(len(data) - offset - 1)
    newest.write_bytes(data)
    told = []
    assert newest_number(tmp_path, told) == 1
    assert len(told) == 1 and newest.name in told[0] and "the one before it is taken" in told[0]


@pytest.mark.parametrize("seal", [None, b"", b"{", b"[]", b'{"file": "x"}', b'{"sha256": "0"}', b"\xff\xfe"])
def test_without_its_seal_a_checkpoint_does_not_count(two, seal):
    """So a kill between the two files, or half a deletion, leaves nothing that looks whole."""
    path = max(two.glob("*.json"))
    path.unlink() if seal is None else path.write_bytes(seal)
    assert newest_number(two) == 1


def test_what_a_kill_leaves_in_the_middle_of_writing_is_passed_over(two):
    whole = max(two.glob("*.pt")).read_bytes()
    (two / ".checkpoint-00003-0000000.pt.123.tmp").write_bytes(whole[:1000])
    (two / "checkpoint-00003-0000000.pt").write_bytes(whole)  # a kill after the renaming: the seal is missing
    assert newest_number(two) == 2


@pytest.mark.parametrize("damaged", [1, 2])
def test_new_checkpoints_take_the_place_of_damaged_ones(two, damaged):
    """Even where all are damaged and training starts over: its first checkpoints lie before those that were lost."""
    for path in sorted(two.glob("*.pt"), reverse=True)[:damaged]:
        path.write_bytes(b"damaged")
    left = [1] if damaged == 1 else []
    assert newest_number(two) == (left[0] if left else None)
    for number, step in ((10, 32), (11, 64), (12, 96)):
        checkpoint.save(two, state(number), epoch=1 if left else 0, step=step)
        assert newest_number(two) == number
        left = [*left, number][-2:]
        assert [torch.load(path)["number"] for path in sorted(two.glob("*.pt"))] == left


class Malicious:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_nothing_in_a_checkpoint_is_executed_even_where_its_seal_is_right(two):
    path, trace = max(two.glob("*.pt")), two / "executed"
    torch.save({"number": Malicious(trace)}, path)
    path.with_suffix(".json").write_text(json.dumps({"sha256": checkpoint.sha256(path)}))
    assert newest_number(two) == 1 and not trace.exists()


@contextmanager
def full_disk():
    """No file may grow past 2,000 bytes, as if the disk were full (pytest's own log included: so only for a moment)."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("size", [10, 100_000])
def test_a_full_disk_is_said_and_costs_no_checkpoint(two, size):
    before = {name: (two / name).read_bytes() for name in names(two)}
    with full_disk(), pytest.raises(CheckpointError, match="cannot be written .*What was saved before still stands"):
        checkpoint.save(two, state(3) | {"more": torch.zeros(size)}, epoch=3, step=0)
    assert {name: (two / name).read_bytes() for name in names(two)} == before
    assert newest_number(two) == 2


def test_a_full_disk_leaves_the_model_pth_of_before(tmp_path):
    path = tmp_path / "model.pth"
    path.write_bytes(b"of before")
    with full_disk(), pytest.raises(CheckpointError, match="cannot be written"):
        checkpoint.write_model(path, torch.nn.Linear(40, 40))
    assert names(tmp_path) == ["model.pth"] and path.read_bytes() == b"of before"


def test_a_disk_that_reads_back_something_else_is_not_trusted(two, monkeypatch):
    def faulty(source, target):
        data = bytearray(open(source, "rb").read())
        data[len(data) // 2] ^= 1
        open(target, "wb").write(data)
        os.unlink(source)

    monkeypatch.setattr(files.os, "replace", faulty)
    with pytest.raises(CheckpointError, match="reads back differently"):
        checkpoint.save(two, state(3), epoch=3, step=0)
    assert newest_number(two) == 2


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_is_written_whole_or_not_at_all(tmp_path, error):
    path = tmp_path / "new" / "results.json"
    files.write_text(path, "first\n")
    with pytest.raises(type(error)), files.replacing(path, "w") as file:
        file.write("half of the sec")
        raise error
    assert path.read_text() == "first\n" and names(path.parent) == ["results.json"]
    files.write_text(path, "zweite ✓\r\n")
    assert path.read_bytes() == "zweite ✓\r\n".encode()
