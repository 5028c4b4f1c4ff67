"""Checkpoints: whole or absent, and whatever happens to the newest, the one before it is still
there."""

import itertools
import os

import numpy as np
import pytest
import torch
from faults import Full, watched
from tiny import conv_model, same_weights

from course_lib import DiskError
from course_lib.storage import checkpoints, files


def state(number):
    """A state like a run's: tensors of several kinds and plain Python."""
    return {
        "model": {"weight": torch.full((40, 30), float(number)), "count": torch.tensor(number)},
        "optimizer": {
            "state": {0: {"momentum_buffer": torch.ones(3, dtype=torch.bfloat16)}},
            "groups": [{"lr": 0.01}],
        },
        "history": [{"epoch": 1, "loss": 0.5, "heldout_accuracy": None}],
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
    path, saved = (
        checkpoints.save(tmp_path / "new" / "folder", state(7), epoch=3, images=96),
        state(7),
    )
    assert path == checkpoints.newest_good(path.parent) and checkpoints.position(path) == (3, 96)
    found = checkpoints.load(path)
    assert torch.equal(found["model"]["weight"], saved["model"]["weight"])
    assert found["optimizer"]["state"][0]["momentum_buffer"].dtype == torch.bfloat16
    assert (
        found["history"] == saved["history"]
        and found["optimizer"]["groups"] == saved["optimizer"]["groups"]
    )
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
    newest, injected = max(two.iterdir()), 0
    for damaged in damages(newest.read_bytes(), 200):
        newest.write_bytes(damaged)
        assert newest_number(two) == 1 and newest.name in capsys.readouterr().out
        injected += 1
    assert injected == 600


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
    path = checkpoints.save(
        tmp_path, {"number": Malicious(tmp_path / "executed")}, epoch=1, images=0
    )
    assert checkpoints.is_good(path)
    with pytest.raises(Exception, match="(?i)weights.only"):
        checkpoints.load(path)
    assert not (tmp_path / "executed").exists()


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
