"""The live curve: what a notebook shows of a stage while it's trained."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from IPython import get_ipython
from IPython.display import Javascript, display

from .curves import plot_live
from .guesses import guesses_of
from .pictures import Picture
from .progress import EpochLines
from .results import read_measured, stored

if TYPE_CHECKING:
    from .curves import History
    from .stage import Stage

# The MIME type of what the live curve tells programs that run a notebook, beside its picture:
# {"stage": 2, "epoch": 3, "epochs": 44, "text": "After epoch 3 of 44: …"}. Browsers ignore it.
EPOCH_DATA = "application/vnd.course.epoch+json"

# The most of the time that drawing may take: more while there's little to see.
DRAWING_SHARE = 1 / 20
DRAWING_SHARE_OF_FIRST_EPOCH = 1 / 5


def live_curve(stage: Stage) -> LiveCurve | EpochLines:
    """The progress display for `train`: a growing curve in a notebook, text in a script."""
    in_notebook = getattr(get_ipython(), "kernel", None) is not None
    return LiveCurve(stage) if in_notebook else EpochLines(stage)


class LiveCurve:
    """Accuracy and loss of a stage, redrawn in place during training: pass it to `train` as `live`.

    The run that's stored in `results/` for the same data and preset, perhaps with another seed, is
    a wide grey line behind it; what you guessed, and where the stage before ended, are lines
    across.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.stored = _stored_history(stage)
        self.before = _accuracy_before(stage)
        self.guesses = guesses_of(stage)  # once: a disk that fails later must not end the training
        self.handle = None  # to what the notebook shows, once it shows something
        self.drawn_at = 0.0  # by the monotonic clock, in seconds
        self.cost = 0.0  # seconds that drawing took

    def show(
        self,
        history: History,
        running: Callable[[], dict[str, Any]] | None = None,
        finished: bool = False,
    ) -> None:
        """Redraw, unless there's nothing to see or it would take too much of the time.

        history: a dict per finished epoch. running: a function that returns the one in progress.
        finished: draw anyway.
        """
        if not history and running is None:
            return
        if not finished and not self._is_due(history):
            return
        self.drawn_at = time.monotonic()
        entries = list(history)
        if running is not None:
            entries.append(running())
        figure = self._draw(entries, history)
        if self.handle is None:
            self.handle = display(figure, display_id=True)
            display(Javascript(SCROLL))
        else:
            self.handle.update(figure)
        self.cost = time.monotonic() - self.drawn_at

    def _is_due(self, history: History) -> bool:
        """Whether the last drawing was cheap enough, measured by the time that passed since."""
        share = DRAWING_SHARE if history else DRAWING_SHARE_OF_FIRST_EPOCH
        return time.monotonic() - self.drawn_at > self.cost / share

    def _draw(self, entries: History, history: History) -> Picture:
        """The figure of all epochs, with what it says about the last one as data."""
        epoch = math.ceil(entries[-1]["epoch"])
        epochs = max(self.stage.epochs, epoch)  # it may have been trained for more
        when = "After" if len(history) == entries[-1]["epoch"] else "In"
        title = f"{when} epoch {epoch} of {epochs}: {self._outcome(entries[-1], history)}"
        figure = plot_live(
            self.stage.number,
            entries,
            epochs,
            self.stage.course.data,
            title,
            # No further than this run, or it would give the outcome away.
            stored=self.stored[: len(history)],
            before=self.before,
            guesses=self.guesses,
            smoothing=self.stage.course.settings.label_smoothing,
        )
        figure.data[EPOCH_DATA] = {
            "stage": self.stage.number,
            "epoch": epoch,
            "epochs": epochs,
            "text": title,
        }
        return figure

    def _outcome(self, entry: Mapping[str, Any], history: History) -> str:
        """How many images are right, and how that compares with the stored run at this epoch."""
        title = f"{entry['train_accuracy']:.0%} of training"
        measured = [past for past in history if past["heldout_accuracy"] is not None]
        if not measured:
            return title + " images right"
        heldout = measured[-1]["heldout_accuracy"]
        title += f" and {heldout:.0%} of held-out images right"
        stored = self._stored_heldout(len(history))
        if stored is not None:
            title += f" ({100 * (heldout - stored):+.0f} points from the stored run)"
        return title

    def _stored_heldout(self, epoch: int) -> float | None:
        """The stored run's accuracy on held-out images after `epoch` epochs; None if unknown."""
        if not 1 <= epoch <= len(self.stored):
            return None
        return self.stored[epoch - 1]["heldout_accuracy"]


def _stored_history(stage: Stage) -> History:
    """The same stage's history in the run that's stored for this data; empty if there's none.

    Its seed may be another one: then generated images are others, of the same kinds.
    """
    results = stored(stage.course)
    if results is None:
        return []
    measured = results["stages"].get(str(stage.number))
    return measured["epochs"] if measured else []


def _accuracy_before(stage: Stage) -> float | None:
    """Held-out accuracy at the end of the stage that this one continues; None if it's unknown.

    In [0, 1], on the images that the curve is measured on.
    """
    number = stage.spec.starts_from
    if number is None:
        return None
    measured = read_measured(stage.course.stage(number))
    if measured is None or not measured["epochs"]:
        return None
    return measured["epochs"][-1]["heldout_accuracy"]


# Brings the running cell's output back into view. JupyterLab's Run All has jumped to the last cell,
# and what lies far above isn't laid out yet: this takes several attempts.
SCROLL = """
(() => {
  // Elsewhere, `element` is a jQuery object (the classic Notebook) or unknown (VS Code).
  if (typeof element === 'undefined' || typeof Element === 'undefined') return
  if (!(element instanceof Element) || !element.closest) return
  let attempts = 20
  const timer = setInterval(() => {
    attempts -= 1  // first, so that it ends even if what follows fails
    if (attempts === 0) clearInterval(timer)
    const cell = element.closest('.jp-Cell')
    const prompt = cell?.querySelector('.jp-InputPrompt')
    if (!prompt?.textContent.includes('*')) return  // not running
    if (cell.offsetHeight) {
      const output = cell.querySelector('.jp-Cell-outputWrapper') ?? cell
      output.scrollIntoView({block: 'start'})
      return
    }
    const panel = element.closest('.jp-WindowedPanel-outer')
    if (panel) panel.scrollTop -= panel.clientHeight
  }, 100)
})()
"""
