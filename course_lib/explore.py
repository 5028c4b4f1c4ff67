"""Things to watch and to click on in a notebook: each is one call (ipywidgets 7.7, as in Colab, or
8)."""

import copy
import html
import math
import time

import ipywidgets
import numpy as np
import torch
from IPython import get_ipython
from IPython.display import Javascript, display

from .augment import DRAWS, augment_batch, draw_augmentations, plain_batch
from .device import send
from .plots import BLUE, ORANGE, Picture, plot_history, plot_images, plot_predictions, short, styled
from .results import stored
from .run import EpochLines

# The MIME type of what the live curve tells programs that run a notebook, beside its picture:
# {"stage": 2, "epoch": 3, "epochs": 44, "text": "Epoch 3 of 44: …"}. Browsers ignore it.
EPOCH_DATA = "application/vnd.course.epoch+json"
PAGE = 12  # images at a time
MENU = {"layout": {"width": "30em"}, "style": {"description_width": "8em"}}


def live_curve(stage):
    """The progress display for `train`: a growing curve in a notebook, lines of text in a
    script."""
    return LiveCurve(stage) if getattr(get_ipython(), "kernel", None) else EpochLines(stage)


class LiveCurve:
    """Loss and accuracy of a stage, redrawn in place while it's being trained; pass it to `train`
    as `live`.

    The run that's stored in `results/` for the same data and preset is drawn in grey behind it.
    """

    def __init__(self, stage):
        stages = (stored(stage.course) or {"stages": {}})["stages"]
        self.stored = stages.get(str(stage.number), {"epochs": []})["epochs"]
        self.stage, self.handle, self.drawn_at, self.cost = (
            stage,
            None,
            0.0,
            0.0,
        )  # the last two in seconds

    def show(self, history, running=None, finished=False):
        """Redraw if it's time: drawing may take a twentieth of the time, and a fifth while there's
        little to see.

        history: a dict per finished epoch. running: a function that returns the one in progress.
        finished: draw anyway.
        """
        due = finished or time.monotonic() - self.drawn_at > self.cost * (20 if history else 5)
        if not due or not (history or running):
            return
        self.drawn_at, number = time.monotonic(), self.stage.number
        entries = [*history, running()] if running else history
        stored = {
            number: self.stored[: len(entries)]
        }  # no further, or it would give the outcome away
        title = self._title(entries[-1], history)
        figure = plot_history({number: entries}, stored, title)
        figure.data[EPOCH_DATA] = {
            "stage": number,
            "epoch": math.ceil(entries[-1]["epoch"]),  # in progress, or the last one
            "epochs": self.stage.epochs,
            "text": title,
        }
        if self.handle:
            self.handle.update(figure)
        else:
            self.handle = display(figure, display_id=True)
            display(Javascript(SCROLL))
        self.cost = time.monotonic() - self.drawn_at

    def _title(self, entry, history):
        """How far the stage is, and how it compares with the stored run at the same epoch."""
        heldout = [e["heldout_accuracy"] for e in history if e["heldout_accuracy"] is not None]
        title = f"Epoch {math.ceil(entry['epoch'])} of {self.stage.epochs}: {entry['train_accuracy']:.0%} of training"
        title += f" and {heldout[-1]:.0%} of held-out images right" if heldout else " images right"
        before = self.stored[len(history) - 1] if 0 < len(history) <= len(self.stored) else None
        if before and heldout and before["heldout_accuracy"] is not None:
            title += f" ({100 * (heldout[-1] - before['heldout_accuracy']):+.0f} points from the stored run)"
        return title


# JupyterLab's Run All has jumped to the last cell, and what lies far above isn't laid out yet:
# several attempts.
SCROLL = """let attempts = 20; const timer = setInterval(() => {
  const cell = element.closest('.jp-Cell'), panel = element.closest('.jp-WindowedPanel-outer')
  const running = cell?.querySelector('.jp-InputPrompt')?.textContent.includes('*')
  if (running && cell.offsetHeight) cell.scrollIntoView({block: 'end'})
  else if (running && panel) panel.scrollTop -= panel.clientHeight
  if (!--attempts) clearInterval(timer) }, 100)"""


def browse_classes(images):
    """Browse Images, such as `course.data.train`, class by class; returns a widget for the last
    line of a cell."""
    counts = images.labels[images.labels >= 0].bincount(minlength=len(images.classes)).tolist()
    options = [
        (f"{i}: {name} ({counts[i]:,})", i) for i, name in enumerate(images.classes) if counts[i]
    ]
    menu = ipywidgets.Dropdown(options=options, description="class", **MENU)

    def draw(page):
        positions = (images.labels == menu.value).nonzero().flatten()
        chosen = positions[PAGE * page :][:PAGE]
        return plot_images(images.batch(chosen), [short(images.names[i]) for i in chosen]), len(
            positions
        )

    return _pages([menu], draw)


def browse_predictions(images, probabilities):
    """Browse predictions, filtered by right or wrong, class and confidence, with the three
    likeliest classes of each.

    images: Images. probabilities: float (n, 80), in their order, as `predict` returns them.
    """
    shares, predicted = probabilities.max(1)
    kinds = {
        "all": shares >= 0,
        "right": predicted == images.labels,
        "wrong": predicted != images.labels,
    }
    kind = ipywidgets.ToggleButtons(options=list(kinds), style={"button_width": "8em"})
    classes = [("any", -1), *((f"{i}: {name}", i) for i, name in enumerate(images.classes))]
    menu = ipywidgets.Dropdown(options=classes, description="true class", **MENU)
    sure = ipywidgets.IntRangeSlider(
        value=(0, 100), description="confidence (%)", continuous_update=False, **MENU
    )

    def draw(page):
        wanted = (
            kinds[kind.value] & (100 * shares >= sure.value[0]) & (100 * shares <= sure.value[1])
        )
        positions = (
            (wanted & ((images.labels == menu.value) | (menu.value < 0))).nonzero().flatten()
        )
        chosen = positions[PAGE * page :][:PAGE]
        if not len(chosen):
            return None, 0
        pixels, labels, shown = images.batch(chosen), images.labels[chosen], probabilities[chosen]
        figure = plot_predictions(pixels, labels, shown, images.classes, likeliest=3)
        figure.set_figwidth(1.25 * figure.get_figwidth())  # captions are wider than images
        return figure, len(positions)

    return _pages([kind, menu, sure], draw)


def browse_augmentation(images, course):
    """Draw augmentations of one image with sliders for the crop, the rotation and the flips, and
    "draw again"."""
    number = ipywidgets.IntSlider(
        0, 0, len(images) - 1, description="image", continuous_update=False, **MENU
    )
    area = ipywidgets.IntSlider(
        8, 8, 100, description="crop at least %", continuous_update=False, **MENU
    )
    angle = ipywidgets.IntSlider(
        90, 0, 90, description="rotate by ±°", continuous_update=False, **MENU
    )
    flips = ipywidgets.Checkbox(True, description="flip")
    again = ipywidgets.Button(description="draw again")
    random, picture = np.random.default_rng(0), ipywidgets.HTML()
    uniforms = random.random((PAGE - 1, DRAWS))

    def show(change=None):
        one = images.subset([number.value] * PAGE)
        how = {
            "crop": area.value / 100,
            "flips": (0.5, 0.5) if flips.value else (0, 0),
            "degrees": angle.value,
        }
        decided = draw_augmentations(uniforms, one.widths[1:], one.heights[1:], **how)
        pixels = send(one.batch(range(1, PAGE)), course.device)
        drawn = augment_batch(pixels, decided.to(course.device), course.settings.size)
        both = torch.cat([plain_batch(one.batch([0]), course.settings.size), drawn.cpu()])
        _fill(picture, plot_images(both, ["original", *(f"draw {i}" for i in range(1, PAGE))]))

    def draw_again(button):
        uniforms[:] = random.random(uniforms.shape)
        show()

    for widget in (number, area, angle, flips):
        widget.observe(show, "value")
    again.on_click(draw_again)
    show()
    return ipywidgets.VBox([number, area, angle, ipywidgets.HBox([flips, again]), picture])


def _pages(filters, draw):
    """A widget of filters, a slider for the page, and a picture; draw(page) → (figure or None, how
    many images)."""
    page = ipywidgets.IntSlider(1, 1, 1, description="page", continuous_update=False, **MENU)
    caption, picture = ipywidgets.HTML(), ipywidgets.HTML()

    def show(change=None):
        figure, count = draw(page.value - 1)
        page.max = max(1, -(-count // PAGE))
        caption.value = f"{count:,} images; page {page.value} of {page.max}"
        _fill(picture, figure)

    def first_page(change):
        if page.value == 1:
            show()
        page.value = 1  # shows it, if it was another one

    for widget in filters:
        widget.observe(first_page, "value")
    page.observe(show, "value")
    show()
    return ipywidgets.VBox([*filters, page, caption, picture])


def _fill(picture, figure):
    """Show a figure, or nothing, in an HTML widget; an image widget would get its size and its
    content separately."""
    data = figure._repr_mimebundle_()[0]["image/png"] if figure else ""
    image = f'<img src="data:image/png;base64,{data}" width="{{:.0f}}" alt="{{}}" style="max-width: 100%">'
    picture.value = image.format(figure.bbox.width, html.escape(figure.alt)) if figure else ""


BOX = {"boxstyle": "round,pad=0.5", "facecolor": "white", "edgecolor": BLUE, "linewidth": 2}
CENTRE = {"ha": "center", "va": "center"}
EMPTY = {"xticks": [], "yticks": [], "frame_on": False}
ARROW = {"arrowstyle": "->", "linewidth": 2}


@styled
def draw_block(block, shape):
    """Draw a `res_block` as a diagram, with the shapes of what flows through it for an input
    (channels, H, W)."""
    parts = [block.conv1, block.conv2, block.conv3]
    shapes = [tuple(shape), *_shapes(parts, shape)]
    figure = Picture(figsize=(12.8, 3.4))
    axis = figure.add_subplot(xlim=(0, 15), ylim=(-0.7, 1.7), **EMPTY)
    at, words = (0.4, 2.9, 6, 9.1, 11.1, 13, 14.7), ["x", *map(_layers, parts), "+", "ReLU", "y"]
    boxes = [
        axis.text(x, 1, text, bbox=BOX, **CENTRE).get_bbox_patch() for x, text in zip(at, words)
    ]
    for number, label in enumerate([*shapes[:3], "F(x)", "F(x) + S(x)", shapes[3]]):
        (left, start), (right, end) = zip(at[number : number + 2], boxes[number:])
        axis.annotate(
            "", (right, 1), (left, 1), arrowprops=ARROW | {"patchA": start, "patchB": end}
        )
        axis.text((left + right) / 2, 1.6, label, **CENTRE)
    axis.plot(
        [0.4, 0.4, 11.1],
        [1, -0.4, -0.4],
        color="black",
        linestyle="-",
        marker="",
        linewidth=2,
        zorder=0,
    )
    axis.annotate("", (11.1, 1), (11.1, -0.43), arrowprops=ARROW | {"patchB": boxes[4]})
    shortway = f"S(x), the short-cut: {_layers(block.shortway, ', ') or 'identity'}"
    axis.text(6.2, -0.4, shortway, bbox=BOX | {"edgecolor": ORANGE}, **CENTRE)
    figure.alt = "A residual block: three convolutions F(x), and a short-cut S(x) that is added to F(x) before a ReLU."
    return figure


@styled
def draw_model(model, size):
    """Draw a `MyModel` as a diagram: its groups of layers, and the shapes between them for images
    of size × size."""
    groups = dict(model.named_children())
    shapes = [(3, size, size), *_shapes(groups.values(), (3, size, size))]
    figure = Picture(figsize=(12.8, 3.6))
    axis = figure.add_subplot(xlim=(-0.5, len(groups) + 0.5), ylim=(-1.05, 0.95), **EMPTY)
    for x, (name, shape) in enumerate(zip(["image", *groups], shapes)):
        high = 0.03 + (shape[1] / size if len(shape) == 3 else 0)
        wide = 0.1 + 0.5 * shape[0] / 1024
        axis.bar(x, high, wide, -high / 2, fc="#c9daf8", ec=BLUE, lw=2)
        blocks = sum(hasattr(part, "shortway") for part in groups[name].children()) if x else 0
        axis.text(x, 0.75, f"{name}\n{blocks} blocks" if blocks else name, **CENTRE)
        axis.text(x, -0.8, "\n".join([str(shape[0]), " × ".join(map(str, shape[1:]))]), **CENTRE)
        if x:
            axis.annotate("", (x - 0.34, 0), (x - 0.66, 0), arrowprops=ARROW)
    figure.alt = f"The model's groups of layers; shapes: {', '.join(map(str, shapes))}."
    return figure


def _shapes(modules, shape):
    """The shape (channels, H, W) that each module makes of the one before; the modules stay as they
    are."""
    x, shapes = torch.zeros(1, *shape), []
    with torch.inference_mode():
        for module in modules:
            x = (
                copy.deepcopy(module)
                .cpu()
                .eval()(x.flatten(1) if isinstance(module, torch.nn.Linear) else x)
            )
            shapes.append(tuple(x.shape[1:]))
    return shapes


def _layers(module, between="\n"):
    """The layers of a Sequential in words."""
    words = []
    for layer in module:
        name = {"Conv2d": "conv", "BatchNorm2d": "batch norm"}.get(
            type(layer).__name__, type(layer).__name__
        )
        kernel, stride = getattr(layer, "kernel_size", None), getattr(layer, "stride", (1, 1))
        name = f"{kernel[0]}×{kernel[1]} {name}" if kernel else name
        words.append(name if stride == (1, 1) else f"{name}, stride {stride[0]}")
    return between.join(words)
