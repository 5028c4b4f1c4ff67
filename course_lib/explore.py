"""What moves and can be clicked in a notebook: the live curve, and explorers with ipywidgets.

Each is one call, and works with ipywidgets 7.7 (as in Colab) and 8.
"""

from __future__ import annotations

import base64
import html
import math
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import ipywidgets
import numpy as np
import torch
from IPython import get_ipython
from IPython.display import Javascript, display

from .augment import DRAWS, augment_batch, draw_augmentations, plain_batch
from .captions import short_names
from .device import send
from .pictures import Picture
from .plots import plot_history, plot_images, plot_predictions
from .progress import EpochLines
from .results import stored

if TYPE_CHECKING:
    from .data.bank import Images
    from .experiment import Course
    from .plots import History
    from .stage import Stage

# The MIME type of what the live curve tells programs that run a notebook, beside its picture:
# {"stage": 2, "epoch": 3, "epochs": 44, "text": "Epoch 3 of 44: …"}. Browsers ignore it.
EPOCH_DATA = "application/vnd.course.epoch+json"

# The most of the time that drawing may take: more while there's little to see.
DRAWING_SHARE = 1 / 20
DRAWING_SHARE_OF_FIRST_EPOCH = 1 / 5

IMAGES_PER_PAGE = 12
CONTROL: dict[str, Any] = {"layout": {"width": "30em"}, "style": {"description_width": "8em"}}
ANY_CLASS = -1  # the choice of a menu


def live_curve(stage: Stage) -> LiveCurve | EpochLines:
    """The progress display for `train`: a growing curve in a notebook, text in a script."""
    in_notebook = getattr(get_ipython(), "kernel", None) is not None
    return LiveCurve(stage) if in_notebook else EpochLines(stage)


class LiveCurve:
    """Loss and accuracy of a stage, redrawn in place during training; pass it to `train` as `live`.

    The run that's stored in `results/` for the same data and preset is drawn in grey behind it.
    """

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.stored = _stored_history(stage)
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
        number = self.stage.number
        title = self._title(entries[-1], history)
        # The stored run no further than this one, or it would give the outcome away.
        so_far = self.stored[: len(entries)]
        data = self.stage.course.data
        figure = plot_history({number: entries}, {number: so_far}, title, data)
        figure.data[EPOCH_DATA] = {
            "stage": number,
            "epoch": math.ceil(entries[-1]["epoch"]),
            "epochs": self.stage.epochs,
            "text": title,
        }
        return figure

    def _title(self, entry: Mapping[str, Any], history: History) -> str:
        """How far the stage is, and how it compares with the stored run at the same epoch."""
        title = f"Epoch {math.ceil(entry['epoch'])} of {self.stage.epochs}: "
        title += f"{entry['train_accuracy']:.0%} of training"
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
    """The same stage's history in the run that's stored for this data; empty if there's none."""
    results = stored(stage.course)
    if results is None:
        return []
    measured = results["stages"].get(str(stage.number))
    return measured["epochs"] if measured else []


# Brings the running cell back into view. JupyterLab's Run All has jumped to the last cell, and what
# lies far above isn't laid out yet: this takes several attempts.
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
      cell.scrollIntoView({block: 'end'})
      return
    }
    const panel = element.closest('.jp-WindowedPanel-outer')
    if (panel) panel.scrollTop -= panel.clientHeight
  }, 100)
})()
"""


class Page(NamedTuple):
    """One page of an explorer's pictures."""

    figure: Picture | None  # None if no image was chosen
    total: int  # images on all pages


def browse_classes(images: Images) -> ipywidgets.VBox:
    """Browse Images, such as `course.data.train`, class by class.

    Returns a widget for the last line of a cell.
    """
    labels = images.labels
    counts = labels[labels >= 0].bincount(minlength=len(images.classes)).tolist()
    options = []
    for category, name in enumerate(images.classes):
        if counts[category] > 0:
            options.append((f"{category}: {name} ({counts[category]:,})", category))
    menu = ipywidgets.Dropdown(options=options, description="class", **CONTROL)

    def draw(page: int) -> Page:
        positions = (labels == menu.value).nonzero().flatten()
        shown = _on_page(positions, page)
        names = [images.names[i] for i in shown.tolist()]
        return Page(plot_images(images.batch(shown), short_names(names)), len(positions))

    return _pages([menu], draw)


def browse_predictions(images: Images, probabilities: torch.Tensor) -> ipywidgets.VBox:
    """Browse predictions with their three likeliest classes, by outcome, class and confidence.

    probabilities: float (n, K), in the images' order, as `predict` returns them. Returns a widget
    for the last line of a cell.
    """
    labels = images.labels
    confidence, predicted = probabilities.max(1)
    outcomes: Mapping[Any, torch.Tensor] = {
        "all": torch.ones_like(labels, dtype=torch.bool),
        "right": predicted == labels,
        "wrong": predicted != labels,
    }
    outcome = ipywidgets.ToggleButtons(options=list(outcomes), style={"button_width": "8em"})
    options = [("any", ANY_CLASS)]
    for category, name in enumerate(images.classes):
        options.append((f"{category}: {name}", category))
    menu = ipywidgets.Dropdown(options=options, description="true class", **CONTROL)
    sure = ipywidgets.IntRangeSlider(
        value=(0, 100), description="confidence (%)", continuous_update=False, **CONTROL
    )

    def draw(page: int) -> Page:
        low, high = sure.value
        wanted = outcomes[outcome.value] & (100 * confidence >= low) & (100 * confidence <= high)
        if menu.value != ANY_CLASS:
            wanted = wanted & (labels == menu.value)
        positions = wanted.nonzero().flatten()
        if len(positions) == 0:
            return Page(None, 0)
        shown = _on_page(positions, page)
        figure = plot_predictions(
            images.batch(shown), labels[shown], probabilities[shown], images.classes, likeliest=3
        )
        figure.set_figwidth(1.25 * figure.get_figwidth())  # captions are wider than images
        return Page(figure, len(positions))

    return _pages([outcome, menu, sure], draw)


def browse_augmentation(images: Images, course: Course) -> ipywidgets.VBox:
    """Draw augmentations of one image, with sliders for the crop, the rotation and the flips.

    Returns a widget for the last line of a cell.
    """
    number = _slider("image", 0, 0, len(images) - 1)
    area = _slider("crop at least %", 8, 8, 100)
    angle = _slider("rotate by ±°", 90, 0, 90)
    flips = ipywidgets.Checkbox(True, description="flip")
    again = ipywidgets.Button(description="draw again")
    picture = ipywidgets.HTML()
    size = course.settings.size
    draws = IMAGES_PER_PAGE - 1  # beside the original
    captions = ["original", *(f"draw {i}" for i in range(1, IMAGES_PER_PAGE))]
    random = np.random.default_rng(0)
    uniforms = random.random((draws, DRAWS))

    def show(change: Any = None) -> None:
        copies = images.subset([number.value] * draws)
        pixels = copies.batch(range(draws))
        decided = draw_augmentations(
            uniforms,
            copies.widths,
            copies.heights,
            crop=area.value / 100,
            flips=(0.5, 0.5) if flips.value else (0, 0),
            degrees=angle.value,
        )
        drawn = augment_batch(send(pixels, course.device), decided.to(course.device), size)
        original = plain_batch(pixels[:1], size)
        _show_in(picture, plot_images(torch.cat([original.cpu(), drawn.cpu()]), captions))

    def draw_again(button: Any) -> None:
        uniforms[:] = random.random(uniforms.shape)
        show()

    for widget in (number, area, angle, flips):
        widget.observe(show, "value")
    again.on_click(draw_again)
    show()
    return ipywidgets.VBox([number, area, angle, ipywidgets.HBox([flips, again]), picture])


def _slider(description: str, value: int, low: int, high: int) -> ipywidgets.IntSlider:
    """A slider that reports its value once it's released: each value draws a picture."""
    return ipywidgets.IntSlider(
        value, low, high, description=description, continuous_update=False, **CONTROL
    )


def _on_page(positions: torch.Tensor, page: int) -> torch.Tensor:
    """Those of the images at `positions` that are on a page, counted from 0."""
    first = IMAGES_PER_PAGE * page
    return positions[first : first + IMAGES_PER_PAGE]


def _pages(filters: list[ipywidgets.DOMWidget], draw: Callable[[int], Page]) -> ipywidgets.VBox:
    """A widget of filters, a slider for the page, a caption and a picture.

    draw: returns a Page, counted from 0, of the images that the filters' values choose.
    """
    number = _slider("page", 1, 1, 1)
    caption = ipywidgets.HTML()
    picture = ipywidgets.HTML()

    def show(change: Any = None) -> None:
        page = draw(number.value - 1)
        number.max = max(1, math.ceil(page.total / IMAGES_PER_PAGE))
        caption.value = f"{page.total:,} images; page {number.value} of {number.max}"
        _show_in(picture, page.figure)

    def show_first_page(change: Any) -> None:
        if number.value == 1:
            show()
        else:
            number.value = 1  # which shows it

    for widget in filters:
        widget.observe(show_first_page, "value")
    number.observe(show, "value")
    show()
    return ipywidgets.VBox([*filters, number, caption, picture])


def _show_in(widget: ipywidgets.HTML, figure: Picture | None) -> None:
    """Show a figure, or nothing, in an HTML widget.

    An image widget would get its size and its content one after the other.
    """
    if figure is None:
        widget.value = ""
        return
    file = figure.shown()
    source = f"data:{file.kind};base64,{base64.b64encode(file.content).decode()}"
    alt = html.escape(figure.alt)
    width = f"{figure.bbox.width:.0f}"
    widget.value = f'<img src="{source}" width="{width}" alt="{alt}" style="max-width: 100%">'
