"""Figures you can read from the back row: 1280 pixels wide at most, and nothing is shown by colour
alone."""

import base64
import io
import math
import unicodedata
import warnings
from functools import cache, wraps
from itertools import accumulate

import numpy as np
from cycler import cycler
from PIL import Image

from .data.answers import CLASSES
from .storage.files import replacing

WIDTH = 12.8  # inches; at 100 dots per inch, as wide as a small projector
BLUE, ORANGE = "#0b5394", "#c35200"
FRAMES = {
    "": {"ec": "grey"},
    "✓ ": {"ec": BLUE, "lw": 2},
    "✗ ": {"ec": ORANGE, "lw": 5, "ls": (0, (2, 1))},
}
STAGES = {1: "five batches", 2: "without augmentation", 3: "with augmentation"}
QUANTITIES = {
    "loss": "mean loss (nats)",
    "train_accuracy": "accuracy on training images (%)",
    "heldout_accuracy": "accuracy on held-out images (%)",
    "gradient": "norm of the gradient",
    "rate": "learning rate",
}
GUESSING = {"color": "black", "linestyle": (0, (1, 3))}
GREY = {"color": "#b0b0b0", "linestyle": "-", "marker": "", "zorder": 1, "linewidth": 4}
LINES = cycler(
    color=[BLUE, ORANGE, "#38761d", "#741b47", "#555555"],
    linestyle=["-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1))],
    marker=list("os^Dv"),
)
STYLE = {
    "font.size": 15, "axes.titlesize": 15, "figure.titlesize": 16, "figure.dpi": 100, "lines.linewidth": 2.5,
    "axes.prop_cycle": LINES, "axes.grid": True, "grid.alpha": 0.3, "figure.constrained_layout.use": True,
    "text.parse_math": False,  # a $ in a class name is a $
}  # fmt: skip
CJK = (
    "Noto Sans CJK KR",
    "Noto Sans CJK JP",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
)
warnings.filterwarnings(
    "ignore", "Glyph .* missing from", UserWarning
)  # else one line per letter that no font has


class Picture:
    """A matplotlib figure that a notebook shows as a small PNG, and its content in words
    (`alt`)."""

    def __init__(self, figsize, title=None, alt=""):
        from matplotlib.figure import (
            Figure,
        )  # here, so that `import course_lib` doesn't wait for it

        self.figure = Figure(figsize)
        self.alt = alt
        self.data = {}  # the content by further MIME types, for programs that read the output
        self.figure.suptitle(title)

    def __getattr__(self, name):
        return getattr(self.figure, name)  # it draws as that figure does

    def png(self):
        """The bytes of a PNG file, with as many colours as fit into 100 kB; with 256 if even 32
        don't (photographs)."""
        drawn, large = io.BytesIO(), []
        self.savefig(drawn, format="png", facecolor="white")
        image = Image.open(drawn).convert("RGB")
        greys, hues = (
            Image.Quantize.MEDIANCUT,
            Image.Quantize.FASTOCTREE,
        )  # what each of them keeps apart
        for colours, method in ((256, greys), (48, hues), (32, hues)):
            small = io.BytesIO()
            image.quantize(colours, method, dither=0).save(small, "png", optimize=True)
            if small.tell() < 100_000:
                return small.getvalue()
            large.append(small.getvalue())
        return large[0]

    def _repr_mimebundle_(self, **kwargs):
        image = base64.b64encode(self.png()).decode()
        data = {"image/png": image, "text/plain": self.alt, **self.data}
        return data, {"image/png": {"alt": self.alt}}


def keep(figure, path):
    """Write a figure as a PNG file, and return it so that a cell shows it; raises DiskError."""
    with replacing(path) as file:
        file.write(figure.png())
    return figure


@cache
def font_families():
    """DejaVu Sans, then the installed fonts for Korean, Japanese and Chinese names (Colab: apt-get,
    fonts-nanum)."""
    from matplotlib import font_manager

    for path in font_manager.findSystemFonts():
        if "CJK" in path or "NanumGothic" in path:
            font_manager.fontManager.addfont(
                path
            )  # matplotlib's own list may be older than the font
    return ["DejaVu Sans", *(family for family in CJK if family in font_manager.get_font_names())]


def styled(plot):
    """Draw in the course's style without changing yours."""

    @wraps(plot)
    def styled(*args, **kwargs):
        from matplotlib import rc_context

        with rc_context({**STYLE, "font.family": font_families()}):
            return plot(*args, **kwargs)

    return styled


@styled
def plot_history(histories, stored=None, title=None):
    """Plot loss (top) and accuracy of {stage number: history}, one column per stage; stored:
    another run, in grey."""
    stages = ", ".join(f"{number} ({STAGES[number]})" for number in histories)
    alt = f"{title or 'Curves'}: loss and accuracy per epoch in stage {stages}."
    figure = Picture((WIDTH, 8), title, alt)
    grid = figure.subplots(2, len(histories), squeeze=False, sharey="row", sharex="col")
    for number, top, bottom in zip(sorted(histories), *grid):
        before, history = (stored or {}).get(number, []), histories[number]
        _line(top, [before], "loss", **GREY)
        _line(bottom, [before], "train_accuracy", label="the stored run", **GREY)
        _line(bottom, [before], "heldout_accuracy", **GREY | {"linestyle": "--"})
        _line(top, [history], "loss")
        _line(
            bottom,
            [history],
            "train_accuracy",
            label="training images (running average of the epoch)",
        )
        _line(bottom, [history], "heldout_accuracy", label="held-out images (plain)")
        bottom.axhline(100 / CLASSES, label=f"chance ({1 / CLASSES:.2%})", **GUESSING)
        top.set(title=f"Stage {number}\n{STAGES[number]}", ylabel=QUANTITIES["loss"])
        bottom.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(-3, 103))
    for axis in figure.axes:
        axis.label_outer()
    figure.legend(*bottom.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@styled
def plot_runs(runs, quantity, title, x="epoch"):
    """Compare runs epoch by epoch; runs: {label: history}, or {label: [history of each seed]}.

    quantity: one of QUANTITIES, which all runs have. Several seeds become their mean, in a band
    from the lowest to the highest (of up to four runs: more bands would hide each other). x:
    another entry of the histories, such as "step".
    """
    figure = Picture(
        (10, 5.5), title, f"{title}: {QUANTITIES[quantity]} per {x} of {', '.join(runs)}."
    )
    axis = figure.subplots()
    for label, run in runs.items():
        _line(
            axis,
            run if isinstance(run[0], list) else [run],
            quantity,
            x,
            band=len(runs) < 5,
            label=label,
        )
    axis.set(xlabel=x, ylabel=QUANTITIES[quantity])
    if quantity == "loss":
        axis.axhline(math.log(CLASSES), label=f"guessing (ln {CLASSES})", **GUESSING)
    low, high = axis.dataLim.intervaly
    if (
        quantity in ("loss", "gradient") and high > 8 * low
    ):  # on less, a logarithmic axis would have two or three ticks
        axis.set_yscale("log", subs=[])  # no minor ticks
        axis.yaxis.get_major_locator().set_params(subs=[1, 2, 3, 5])
        axis.yaxis.set_major_formatter("{x:g}")
    elif "accuracy" in quantity:
        high = axis.get_ylim()[1]
        axis.set_ylim(-0.03 * high, 1.03 * high)  # from 0%, but the frame hides no line there
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def _line(axis, seeds, quantity, x="epoch", band=True, **style):
    """Draw a quantity, an accuracy in percent, as its mean over the seeds' histories; nothing if it
    wasn't measured."""
    position = [entry[x] for entry in seeds[0]]
    values = np.array(
        [[entry[quantity] for entry in history] for history in seeds], float
    )  # None becomes nan: a gap
    if np.isnan(values).all():
        return
    values *= 100 if "accuracy" in quantity else 1
    sparse = max(1, len(position) // 10)  # a marker on every epoch would hide the line
    (line,) = axis.plot(position, values.mean(0), markevery=sparse, **style)
    axis.locator_params("x", nbins=6, integer=True, min_n_ticks=1)
    if band and len(seeds) > 1:
        axis.fill_between(position, values.min(0), values.max(0), color=line.get_color(), alpha=0.2)


@styled
def plot_images(images, captions, columns=6, title=None):
    """Show images in a grid, each with a caption; images: uint8 (n, S, S, 3) or float (n, 3, S, S)
    in [-1, 1]."""
    if images.is_floating_point():
        images = ((images.permute(0, 2, 3, 1) + 1) * 127.5).round().clip(0, 255).byte()
    columns = min(columns, len(captions))
    rows, side, lines = (
        -(-len(captions) // columns),
        WIDTH / max(6, columns),
        1 + captions[0].count("\n"),
    )
    shown = dict.fromkeys(" ".join(caption.split()) for caption in captions if caption)
    alt = f"{title or 'Images'}: {'; '.join(shown)}"
    height = rows * (0.9 * side + 0.24 * lines) + (0.4 if title else 0)
    figure = Picture((side * columns, height), title, alt)
    figure.get_layout_engine().set(wspace=0.1, hspace=0.06)  # neighbouring frames don't touch
    for number, (image, caption) in enumerate(zip(images.cpu().numpy(), captions), 1):
        axis = figure.add_subplot(rows, columns, number, xticks=[], yticks=[])
        axis.imshow(image)
        axis.set_title(caption, fontsize=13)
        axis.spines[:].set_visible(False)
    return figure


def plot_predictions(images, labels, probabilities, classes, title=None, likeliest=1):
    """Show predictions: ✓ in a thin frame if right, ✗ in a thick dashed one, with the true class,
    if wrong.

    images: as in `plot_images`. labels: int64 (n,), −1 where unknown. probabilities: float (n, 80).
    likeliest: how many classes are named.
    """
    marks, captions, between = [], [], "\n" if likeliest == 1 else " "
    length = 17 if likeliest == 1 else 13  # letters of a name that fit above an image
    for label, shares, best in zip(
        labels.tolist(), *(values.tolist() for values in probabilities.topk(likeliest))
    ):
        marks.append("" if label < 0 else "✓ " if label == best[0] else "✗ ")
        lines = [
            f"{short(classes[guess], length)}{between}{share:.0%}"
            for guess, share in zip(best, shares)
        ]
        lines.append(f"is: {short(classes[label], length)}" if marks[-1] == "✗ " else "")
        captions.append(marks[-1] + "\n".join(lines))
    figure = plot_images(images, captions, title=title)
    for axis, mark in zip(figure.axes, marks):
        axis.spines[:].set(visible=True, capstyle="butt", **FRAMES[mark])
    return figure


@styled
def plot_confusion(labels, predicted, names, title=None):
    """Plot how often each class (row) is taken for each other (column); labels, predicted: int64
    (n,)."""
    count = len(names)
    matrix = (labels * count + predicted).bincount(minlength=count**2).reshape(count, count)
    shares = 100 * matrix / matrix.sum(1, keepdim=True).clamp(min=1)
    alt = f"{title or 'Confusion matrix'}: true classes in rows, predicted classes in columns."
    figure = Picture((10, 8.5), title, alt)
    axis = figure.subplots()
    picture = axis.imshow(shares.numpy(), "Greys", aspect="auto", vmin=0, vmax=100)
    ticks = range(0, count, -(-count // 20))  # 20 names at most
    shown = [short(names[i], 14) for i in ticks]
    axis.set_xticks(ticks, shown, rotation=90, fontsize=13)
    axis.set_yticks(ticks, shown, fontsize=13)
    axis.set(xlabel="predicted class", ylabel="true class")
    axis.grid(False)
    for row, column in [*np.ndindex(count, count)] if count <= 10 else []:
        share = shares[row, column].item()
        axis.text(
            column,
            row,
            f"{share:.0f}",
            color="white" if share > 50 else "black",
            ha="center",
            va="center",
        )
    figure.colorbar(picture, label="share of the true class's images (%)")
    return figure


@styled
def plot_classes(labels, predicted, names, title=None):
    """Plot accuracy for the ten hardest and the ten easiest classes; labels, predicted: int64
    (n,)."""
    counts, right = (
        some.bincount(minlength=len(names)) for some in (labels, labels[labels == predicted])
    )
    percent = 100 * right / counts
    order = [i for i in percent.argsort(stable=True).tolist() if counts[i]]
    alt = f"{title or 'Accuracy by class'}: hardest {names[order[0]]}, easiest {names[order[-1]]}."
    figure = Picture((WIDTH, 5), title, alt)
    for axis, some, about in zip(
        figure.subplots(1, 2), (order[:10], order[-10:]), ("hardest", "easiest")
    ):
        bars = axis.barh(
            range(len(some)), percent[some].numpy(), color=BLUE, edgecolor=BLUE
        )  # 0% is a thin line
        axis.bar_label(bars, fmt="%.3g", padding=5)
        axis.set_yticks(range(len(some)), [short(names[i]) for i in some])
        axis.set(title=f"the {len(some)} {about} classes", xlim=(-1, 119), xlabel="accuracy (%)")
    return figure


def short(name, length=20):
    """Shorten a class name: up to its first comma, at most `length` letters wide (a Korean letter
    counts twice)."""
    name = unicodedata.normalize("NFC", name.split(",")[0])
    widths = accumulate(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name)
    fitting = sum(width <= length for width in widths)
    return name if fitting == len(name) else name[: fitting - 1] + "…"
