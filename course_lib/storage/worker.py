"""A thread for what may never end: whoever asked for it waits with patience, then gives up."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

GLANCE = 0.5  # seconds between two looks at whether you have pressed ■


class NoAnswer(Exception):
    """Nothing has moved for as long as the caller was willing to wait."""


class GivenUp(Exception):
    """Ends a piece of work that nobody waits for any more."""


@dataclass
class Task:
    """A piece of work, and what became of it."""

    work: Callable[[], Any]
    finished: threading.Event = field(default_factory=threading.Event)
    given_up: bool = False
    result: Any = None
    error: BaseException | None = None

    def run(self) -> None:
        """Do the work, unless nobody waits for it any more."""
        if not self.given_up:
            try:
                self.result = self.work()
            except BaseException as error:  # the caller gets it, whatever it is
                self.error = error
        self.finished.set()


class Worker:
    """A daemon thread that does one piece of work at a time, and something else in between.

    in_between: called again and again while there is no work, every `pause` seconds.
    """

    def __init__(self, name: str, in_between: Callable[[], None], pause: float):
        self._in_between = in_between
        self._pause = pause
        self._waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._current: Task | None = None
        self._moved = 0.0  # when the work last got on, by time.monotonic()
        self._thread = threading.Thread(target=self._run, daemon=True, name=name)
        self._starting = threading.Lock()

    def do(self, work: Callable[[], Any], patience: float) -> Any:
        """Have the thread call `work`; returns its result, or raises its error.

        Raises NoAnswer once nothing has moved for `patience` seconds. Then, and if ■ is pressed,
        the work ends as soon as it calls `moved`, so that nothing happens behind your back.
        """
        with self._starting:  # two cells may ask at the same time
            if not self._thread.is_alive():
                self._thread.start()
        task = Task(work)
        asked = time.monotonic()
        try:
            self._waiting.put(task)
            while not task.finished.wait(min(patience, GLANCE)):
                last_moved = max(asked, self._moved)
                if time.monotonic() - last_moved > patience:
                    raise NoAnswer
        except BaseException:  # also ■
            task.given_up = True
            raise
        if task.error is not None:
            raise task.error
        return task.result

    def moved(self) -> None:
        """Note that the work is getting on; called before each step. Raises GivenUp."""
        self._moved = time.monotonic()
        if self._current is not None and self._current.given_up:
            raise GivenUp

    def _run(self) -> None:
        while True:
            try:
                self._current = self._waiting.get(timeout=self._pause)
            except queue.Empty:
                self._current = None
                self._in_between()
            else:
                self._current.run()
