"""Threads: as many as there are cores that nobody else uses, and the same ones after a resume."""

import os

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import at_step, conv_model, noise_images, press_stop

from course_lib import Stopped, threads, train
from course_lib.threads import Usage, choose_threads

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def pytorch(monkeypatch):
    """PyTorch, which believes that it computes with as many threads as it's told, but uses one."""
    told = [1]
    monkeypatch.setattr(torch, "set_num_threads", lambda count: told.append(count))
    monkeypatch.setattr(torch, "get_num_threads", lambda: told[-1])


@pytest.fixture
def computer(monkeypatch):
    """A computer with some cores: computer(cores, others) lets others use so many for a while."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    now = Usage(clock=0.0, everybody=0.0, ours=0.0)

    def set_up(cores, others, ours=1.0, seconds=10.0):
        nonlocal now
        monkeypatch.setattr(threads, "MOST", cores)
        monkeypatch.setattr(threads.psutil, "cpu_count", lambda: cores)
        monkeypatch.setattr(threads, "_last_look", now)
        now = Usage(
            now.clock + seconds,
            now.everybody + seconds * (others + ours),
            now.ours + seconds * ours,
        )
        monkeypatch.setattr(threads, "usage", lambda: now)

    return set_up


@given(cores=st.integers(1, 16), busy=st.integers(0, 16), ours=st.floats(0, 16))
def test_a_core_that_others_use_is_left_to_them(computer, cores, busy, ours):
    computer(cores, others=busy, ours=ours)
    assert choose_threads(CPU) == torch.get_num_threads() == max(1, cores - busy)


def test_threads_come_back_once_the_others_have_finished(computer, capsys):
    torch.set_num_threads(4)
    computer(4, others=2.0)
    assert choose_threads(CPU) == 2
    assert "2 of 4" in capsys.readouterr().out
    computer(4, others=0.1)  # as a browser that does nothing
    assert choose_threads(CPU) == 4
    assert not capsys.readouterr().out


def test_a_number_that_was_asked_for_stays(computer, monkeypatch):
    torch.set_num_threads(2)
    computer(4, others=4.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert choose_threads(CPU) == 2


def test_a_gpu_leaves_the_threads_alone(computer):
    torch.set_num_threads(2)
    computer(4, others=4.0)
    assert choose_threads(torch.device("cuda")) == 2


def test_the_clocks_of_this_computer_run_forwards():
    first = threads.usage()
    sum(range(1_000_000))
    second = threads.usage()
    assert second.clock > first.clock
    assert second.ours > first.ours
    assert second.everybody >= first.everybody
    assert threads.free_cores() <= (os.cpu_count() or 1)


def test_each_epoch_is_computed_with_the_threads_that_are_free_then(short, computer, monkeypatch):
    busy = iter([0.0, 1.0, 0.0])

    def choose(device):
        computer(2, others=next(busy))
        return choose_threads(device)

    monkeypatch.setattr("course_lib.run.choose_threads", choose)
    history = train(conv_model(), noise_images(), short.stage(2), augmented=False)
    assert [entry["threads"] for entry in history] == [2, 1, 2]


def test_an_epoch_that_is_resumed_keeps_its_threads(short, monkeypatch):
    """Whatever the processor does meanwhile: otherwise, its sums would have other last bits."""
    chosen = iter([2, 1, 1, 1])
    monkeypatch.setattr("course_lib.run.MOST", 2)
    monkeypatch.setattr("course_lib.run.choose_threads", lambda device: next(chosen))
    with pytest.raises(Stopped):
        train(at_step(conv_model(), 2, press_stop), noise_images(), short.stage(2), augmented=False)
    history = train(conv_model(seed=9), noise_images(), short.stage(2), augmented=False)
    assert [entry["threads"] for entry in history] == [2, 1, 1]


def test_fewer_cores_than_before_are_reported(short, monkeypatch, capsys):
    monkeypatch.setattr("course_lib.run.MOST", 2)
    monkeypatch.setattr("course_lib.run.choose_threads", lambda device: 2)
    with pytest.raises(Stopped):
        train(at_step(conv_model(), 2, press_stop), noise_images(), short.stage(2), augmented=False)
    monkeypatch.setattr("course_lib.run.MOST", 1)
    monkeypatch.setattr("course_lib.run.choose_threads", lambda device: 1)
    capsys.readouterr()
    history = train(conv_model(seed=9), noise_images(), short.stage(2), augmented=False)
    assert [entry["threads"] for entry in history] == [1, 1, 1]
    assert "bit-identical" in capsys.readouterr().out
