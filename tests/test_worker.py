"""A thread that may be stuck for good, and callers that aren't."""

import os
import signal
import sys
import threading

import pytest
from tiny import Crash, crash

from course_lib.storage.worker import NoAnswer, Worker

FOREVER = 60  # seconds that no test waits for


@pytest.fixture
def worker():
    return Worker("test", lambda: None, FOREVER)


def test_what_the_work_returns_or_raises_is_the_callers(worker):
    assert worker.do(lambda: 3, FOREVER) == 3
    with pytest.raises(Crash):
        worker.do(crash, FOREVER)
    assert worker.do(threading.current_thread, FOREVER) is not threading.current_thread()


def test_who_gives_up_is_free_and_the_work_ends_at_its_next_step(worker):
    answer, reached = threading.Event(), []

    def hang():
        answer.wait(FOREVER)
        worker.moved()
        reached.append("the next step")

    with pytest.raises(NoAnswer):
        worker.do(hang, 0.01)
    with pytest.raises(NoAnswer):  # not stuck behind the first, and never begun
        worker.do(lambda: reached.append("the second"), 0.01)
    answer.set()
    assert worker.do(lambda: 3, FOREVER) == 3 and reached == []


def test_work_that_gets_on_may_take_as_long_as_it_likes(worker):
    """Longer than the caller's patience, but never without a step for that long."""
    steps, patience = [], 0.5

    def slow():
        while len(steps) < 10:
            threading.Event().wait(patience / 5)
            worker.moved()
            steps.append(1)
        return "done"

    assert worker.do(slow, patience) == "done"


@pytest.mark.skipif(sys.platform == "win32", reason="there, the signal ends the process")
def test_stop_frees_the_caller_and_ends_the_work_at_its_next_step(worker):
    stopped, reached = threading.Event(), []

    def work():
        os.kill(os.getpid(), signal.SIGINT)  # to the process, as a notebook does
        stopped.wait(FOREVER)
        worker.moved()
        reached.append("the next step")

    with pytest.raises(KeyboardInterrupt):
        worker.do(work, FOREVER)
    stopped.set()
    worker.do(lambda: None, FOREVER)
    assert reached == []


def test_in_between_is_called_while_nobody_asks_for_anything():
    called = threading.Event()
    Worker("test", called.set, 0.001).do(lambda: None, FOREVER)
    assert called.wait(FOREVER)
