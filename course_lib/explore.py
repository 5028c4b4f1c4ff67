"""What can be clicked in a notebook: explorers of images, augmentation and predictions.

Each is one call, and works with ipywidgets 7.7 (as in Colab) and 8. Where no Python runs, as on
GitHub, the first picture stands in its place.
"""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import ipywidgets
import numpy as np
import torch

from .augment import DRAWS, augment_batch, draw_augmentations, plain_batch
from .captions import short_names
from .device import send
from .pictures import Picture
from .plots import plot_images, plot_predictions

if TYPE_CHECKING:
    from .data.bank import Images
    from .experiment import Course

IMAGES_PER_PAGE = 12
CONTROL: dict[str, Any] = {"layout": {"width": "30em"}, "style": {"description_width": "8em"}}
ANY_CLASS = -1  # the choice of a menu
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"


class Page(NamedTuple):
    """One page of an explorer's pictures."""

    figure: Picture | None  # None if no image was chosen
    total: int  # images on all pages


class Explorer(ipywidgets.VBox):
    """Controls above a picture. first: the figure of its first picture."""

    def __init__(self, children: list[ipywidgets.DOMWidget], first: Picture | None):
        super().__init__(children)
        self.first = first

    def _ipython_display_(self) -> None:
        """Show the widget, and store its first picture for readers of the notebook."""
        from IPython.display import display

        data = {}
        metadata = {}
        if self.first is not None:
            data, metadata = self.first._repr_mimebundle_()
        data[WIDGET_VIEW] = {"version_major": 2, "version_minor": 0, "model_id": self.model_id}
        display(data, metadata=metadata, raw=True)


def browse_classes(images: Images) -> Explorer:
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


def browse_predictions(images: Images, probabilities: torch.Tensor) -> Explorer:
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


def browse_augmentation(images: Images, course: Course) -> Explorer:
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

    def show(change: Any = None) -> Picture:
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
        figure = plot_images(torch.cat([original.cpu(), drawn.cpu()]), captions)
        _show_in(picture, figure)
        return figure

    def draw_again(button: Any) -> None:
        uniforms[:] = random.random(uniforms.shape)
        show()

    for widget in (number, area, angle, flips):
        widget.observe(show, "value")
    again.on_click(draw_again)
    return Explorer([number, area, angle, ipywidgets.HBox([flips, again]), picture], show())


def _slider(description: str, value: int, low: int, high: int) -> ipywidgets.IntSlider:
    """A slider that reports its value once it's released: each value draws a picture."""
    return ipywidgets.IntSlider(
        value, low, high, description=description, continuous_update=False, **CONTROL
    )


def _on_page(positions: torch.Tensor, page: int) -> torch.Tensor:
    """Those of the images at `positions` that are on a page, counted from 0."""
    first = IMAGES_PER_PAGE * page
    return positions[first : first + IMAGES_PER_PAGE]


def _pages(filters: list[ipywidgets.DOMWidget], draw: Callable[[int], Page]) -> Explorer:
    """A widget of filters, a slider for the page, a caption and a picture.

    draw: returns a Page, counted from 0, of the images that the filters' values choose.
    """
    number = _slider("page", 1, 1, 1)
    caption = ipywidgets.HTML()
    picture = ipywidgets.HTML()

    def show(change: Any = None) -> Picture | None:
        page = draw(number.value - 1)
        number.max = max(1, math.ceil(page.total / IMAGES_PER_PAGE))
        caption.value = f"{page.total:,} images; page {number.value} of {number.max}"
        _show_in(picture, page.figure)
        return page.figure

    def show_first_page(change: Any) -> None:
        if number.value == 1:
            show()
        else:
            number.value = 1  # which shows it

    for widget in filters:
        widget.observe(show_first_page, "value")
    number.observe(show, "value")
    return Explorer([*filters, number, caption, picture], show())


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
