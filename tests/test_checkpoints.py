"""Checkpoints: whole or absent, and whatever happens to the newest, the one before it is still
there."""

import errno
import io
import itertools
import os
import pickle
import time

import numpy as np
import pytest
import torch
from faults import Full, watched
from tiny import conv_model, same_weights

from course_lib import CheckpointError, DiskError
from course_lib.storage import checkpoints, files


def state(number):
    """A state like a stage's: tensors of several kinds and plain Python."""
    return {
        "identity": {"settings": {"flips": (0.5, 0.5)}},
        "made_on": {"device": "cpu"},
        "position": {"history": [{"epoch": 1, "loss": 0.5, "heldout_accuracy": None}]},
        "sums": torch.zeros(2),
        "model": {"weight": torch.full((40, 30), float(number)), "count": torch.tensor(number)},
        "optimizer": {
            "state": {0: {"momentum_buffer": torch.ones(3, dtype=torch.bfloat16)}},
            "groups": [{"lr": 0.01}],
        },
        "scaler": {},
        "number": number,
    }


def newest_number(folder):
    path = checkpoints.newest_good(folder)
    return path and checkpoints.load(path)["number"]


def content(folder):
    """{name: bytes} of all files in a folder, also the hidden ones."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def two(tmp_path):
    """A folder with the checkpoints 1 and 2."""
    for number in (1, 2):
        checkpoints.save(tmp_path / "two", state(number), epoch=number, images=0)
    return tmp_path / "two"


def test_what_was_saved_comes_back(tmp_path, capsys):
    assert newest_number(tmp_path) is newest_number(tmp_path / "not there") is None
    saved = state(7)
    path = checkpoints.save(tmp_path / "new" / "folder", saved, epoch=3, images=96)
    assert path == checkpoints.newest_good(path.parent) and checkpoints.position(path) == (3, 96)
    found = checkpoints.load(path)
    assert torch.equal(found["model"]["weight"], saved["model"]["weight"])
    assert found["optimizer"]["state"][0]["momentum_buffer"].dtype == torch.bfloat16
    assert found["optimizer"]["groups"] == saved["optimizer"]["groups"]
    for key in ("identity", "made_on", "position"):
        assert found[key] == saved[key]
    assert capsys.readouterr().out == ""


def test_the_newest_is_the_furthest_and_only_two_are_kept(tmp_path):
    for count, (epoch, images) in enumerate(
        [(0, 32), (0, 64), (1, 0), (9, 1280), (10, 0), (10, 32)], 1
    ):
        path = checkpoints.save(tmp_path, state(epoch * 10_000 + images), epoch, images)
        os.utime(
            path, (10**9 - count, 10**9 - count)
        )  # the clock is set back: positions count, not times
        assert newest_number(tmp_path) == epoch * 10_000 + images
        assert len(content(tmp_path)) == min(count, 2)


def test_what_another_notebook_has_trained_further_is_kept(two):
    """Two notebooks train the same stage; the one that is behind saves last."""
    checkpoints.save(two, state(9), epoch=9, images=0)
    for number in (3, 4):
        checkpoints.save(two, state(number), epoch=number, images=0)
    assert newest_number(two) == 9 and len(content(two)) == 2


def test_what_another_notebook_deletes_while_it_is_verified_is_no_error(two):
    older = max(two.iterdir())

    def delete_first(kind, path):
        if kind == "open" and path == older and path.exists():
            path.rename(two / "deleted")

    with watched(two, delete_first):
        checkpoints.save(two, state(3), epoch=3, images=0)
    assert newest_number(two) == 3 and (two / "deleted").exists()


def damages(data, count):
    """`count` flipped bits, `count` cuts and `count` bytes too many, at random places."""
    random = np.random.default_rng(0)
    for place in random.integers(0, len(data), count):
        flipped = bytearray(data)
        flipped[place] ^= 1 << random.integers(8)
        yield bytes(flipped)
        yield data[:place]
        yield data[:place] + b"\0" + data[place:]


def test_any_damage_is_noticed_and_the_previous_checkpoint_is_used(two, capsys):
    newest = max(two.iterdir())
    injected = set()
    for damaged in damages(newest.read_bytes(), 200):
        newest.write_bytes(damaged)
        assert newest_number(two) == 1
        reported = newest.name in capsys.readouterr().out
        assert reported or damaged in injected  # once is enough
        injected.add(damaged)
    assert len(injected) > 500


@pytest.mark.parametrize("damaged", [1, 2])
def test_new_checkpoints_take_the_place_of_damaged_ones(two, damaged):
    """Even if both are damaged and training starts over: its first checkpoints lie before those
    that were lost."""
    for path in sorted(two.iterdir(), reverse=True)[:damaged]:
        path.write_bytes(b"damaged")
    left = [1] if damaged == 1 else []
    for number in (10, 11, 12):
        checkpoints.save(two, state(number), epoch=1 if left else 0, images=number)
        left = [*left, number][-2:]
        assert [checkpoints.load(path)["number"] for path in sorted(two.iterdir())] == left


class Malicious:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_nothing_in_a_checkpoint_is_executed_even_if_its_digest_is_right(tmp_path):
    malicious = state(1) | {"number": Malicious(tmp_path / "executed")}
    path = checkpoints.save(tmp_path, malicious, epoch=1, images=0)
    assert checkpoints.is_good(path)
    with pytest.raises(CheckpointError, match=path.name):
        checkpoints.load(path)
    assert not (tmp_path / "executed").exists()


def put(folder, data, epoch=9):
    """A checkpoint with any content, and the digest of that content in its name."""
    path = folder / f"checkpoint-{epoch:05d}-0000000-{checkpoints.digest_of(data)}.pt"
    path.write_bytes(data)
    return path


def torch_file(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


def doubled(depth):
    """A list that seems to hold 2**depth values, since each list in it holds the next one twice."""
    value = [0]
    for _ in range(depth):
        value = [value, value]
    return value


def endless():
    value = []
    value.append(value)
    return value


WRONG = {
    "nothing": b"",
    "no torch file": b"hello",
    "another zip": b"PK\5\6" + bytes(18),
    "a pickle": pickle.dumps([1]),
    "a list": torch_file([1]),
    "a tensor": torch_file(torch.zeros(2)),
    "lists that look endless": torch_file(state(1) | {"position": {"history": doubled(60)}}),
    "a list in itself": torch_file(state(1) | {"identity": {"data": endless()}}),
    "half of a zip": torch_file(state(1))[:-1000],
}


@pytest.mark.parametrize("what", WRONG)
def test_a_checkpoint_with_other_content_is_an_error_that_names_the_file(tmp_path, what):
    path = put(tmp_path, WRONG[what])
    assert checkpoints.newest_good(tmp_path) == path
    with pytest.raises(CheckpointError, match=path.name):
        checkpoints.load(path)


def test_a_checkpoint_that_cannot_be_read_is_a_disk_error(two):
    path = max(two.iterdir())

    def fail(kind, opened):
        if kind in ("open", "read") and opened == path:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with watched(two, fail), pytest.raises(DiskError, match=path.name):
        checkpoints.newest_good(two)
    with pytest.raises(DiskError, match="gone"):
        checkpoints.load(two / "gone.pt")
    with pytest.raises(DiskError, match=path.name):
        checkpoints.newest_first(path)  # a file where a folder should be


OTHER_NAMES = [
    *("{stem}-Copy1.pt", "{stem} - Copy.pt", "{stem} (1).pt", "Copy of {stem}.pt", "{stem}.pt.tmp"),
    *("{stem} (conflicted copy 2026-01-01).pt", "{stem}-LAPTOP.pt", "{stem}.PT", " {stem}.pt"),
    *("checkpoint-best.pt", "checkpoint-epoch3.pt", "checkpoint-a-b-c.pt", "checkpoint-.pt"),
    *("checkpoint-99-0000000-0123456789abcdef.pt", "checkpoint-00099-0000000-0123456789abcde.pt"),
    *(
        "checkpoint-00099-0000000-0123456789ABCDEF.pt",
        "checkpoint-0009٩-0000000-0123456789abcdef.pt",
    ),
    "checkpoint-00099-0000000-0123456789abcdef.pt\n",
]


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_file_with_another_name_is_not_a_checkpoint_and_stays(two, name, capsys):
    newest = max(two.iterdir())
    copy = two / name.format(stem=newest.stem)
    copy.write_bytes(newest.read_bytes())
    assert checkpoints.newest_good(two) == newest and copy not in checkpoints.newest_first(two)
    for number in (3, 4, 5):
        checkpoints.save(two, state(number), epoch=number, images=0)
    assert copy.exists() and newest_number(two) == 5 and len(content(two)) == 3
    assert capsys.readouterr().out == ""


def test_a_folder_or_a_pipe_with_the_name_of_a_checkpoint_is_none(two):
    newest = checkpoints.newest_good(two)
    (two / "checkpoint-00090-0000000-0123456789abcdef.pt").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(two / "checkpoint-00091-0000000-0123456789abcdef.pt")
    (two / "checkpoint-00092-0000000-0123456789abcdef.pt").symlink_to(two / "nowhere")
    assert checkpoints.newest_good(two) == newest
    checkpoints.save(two, state(3), epoch=3, images=0)
    assert newest_number(two) == 3


def test_what_killed_processes_left_of_checkpoints_does_not_pile_up(two):
    """Each has another name, so none of them is ever written again."""
    name = "checkpoint-00009-0000000-0123456789abcdef.pt"
    fresh = two / f".{name}.12.tmp"
    left = [two / f".{name}.{number}.tmp" for number in (13, 14)]
    theirs = [two / f".{name}.tmp", two / ".checkpoint-best.pt.12.tmp", two / f"{name}.12.tmp"]
    for path in [fresh, *left, *theirs]:
        path.write_bytes(b"half of it")
        if path != fresh:
            os.utime(path, (time.time() - 2 * files.STALE_SECONDS,) * 2)
    checkpoints.save(two, state(3), epoch=3, images=0)
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in [fresh, *theirs])


def test_a_damaged_checkpoint_is_reported_once(two, capsys):
    newest = max(two.iterdir())
    newest.write_bytes(b"damaged")
    for _ in range(3):
        assert newest_number(two) == 1
    assert capsys.readouterr().out.count(newest.name) == 1


@pytest.mark.parametrize("what", ["checkpoint", "model.pth"])
def test_a_disk_that_fills_up_at_any_operation_leaves_the_previous_state(two, what):
    checkpoints.write_model(two / "model.pth", conv_model(1))
    before, failures = content(two), 0
    for number in itertools.count(1):
        full = Full(number)
        with watched(two, full):
            try:
                if what == "checkpoint":
                    checkpoints.save(two, state(3), epoch=3, images=0)
                else:
                    checkpoints.write_model(two / "model.pth", conv_model(2))
            except DiskError:
                failures += 1
        if not full.reached:
            break
        assert content(two) == before
    assert failures == number - 1 == 2  # the data, the sync


def test_a_disk_that_reads_back_something_else_is_not_trusted(two):
    def rot(kind, path):
        if kind == "fsync":
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 1
            path.write_bytes(data)

    with watched(two, lambda kind, path: None, rot), pytest.raises(DiskError, match="00003"):
        checkpoints.save(two, state(3), epoch=3, images=0)
    assert newest_number(two) == 2


def test_model_pth_is_a_bare_state_dict_of_contiguous_tensors(tmp_path):
    path, model = tmp_path / "model.pth", conv_model().to(memory_format=torch.channels_last)
    checkpoints.write_model(path, model)
    weights = torch.load(path, weights_only=True)
    assert list(weights) == list(model.state_dict()) and all(
        value.is_contiguous() for value in weights.values()
    )
    again = conv_model(9)
    again.load_state_dict(weights)
    assert same_weights(again, model)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), ValueError()]
)
def test_a_file_is_written_whole_or_not_at_all(tmp_path, error):
    path = tmp_path / "new" / "results.json"
    files.write_text(path, "first\n")
    expected = DiskError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), files.replacing(path, "w") as file:
        file.write("half of the sec")
        raise error
    assert content(path.parent) == {"results.json": b"first\n"}
    files.write_text(path, "zweite ✓\r\n")
    assert path.read_bytes() == "zweite ✓\r\n".encode()


def test_a_save_deletes_no_good_checkpoint_of_another_training_and_never_its_own(two):
    """Whichever is further: two of an earlier version are there."""
    for epoch in (1, 2, 3):
        path = checkpoints.save(two, state(epoch), epoch, images=0, training="aaaaaaaa")
        assert path.exists()
    left = [checkpoints.training_of(path) for path in checkpoints.newest_first(two)]
    assert sorted(left) == ["", "", "aaaaaaaa", "aaaaaaaa"]
    for epoch in (9, 10, 8):  # the last one isn't as far
        assert checkpoints.save(two, state(epoch), epoch, images=0).exists()
    with pytest.raises(CheckpointError, match="00010"):
        checkpoints.require_only("aaaaaaaa", two)


def test_every_training_has_an_id_of_its_own_whatever_the_seed(tmp_path):
    ids = set()
    for _ in range(20):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        ids.add(checkpoints.new_training())
        assert torch.equal(torch.get_rng_state(), before)
    assert len(ids) == 20
