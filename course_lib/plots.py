"""Figures you can read from the back row: 1280 pixels wide at most, and nothing is shown by colour alone."""

import io
import unicodedata
import warnings
from functools import cache, wraps
from itertools import accumulate

import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.ticker import MaxNLocator, PercentFormatter
from PIL import Image

from .storage.files import replacing

WIDTH = 12.8  # inches; at 100 dots per inch, as wide as a small projector
BLUE, ORANGE = "#0b5394", "#c35200"
FRAMES = {"": {"ec": "grey"}, "✓ ": {"ec": BLUE, "lw": 2}, "✗ ": {"ec": ORANGE, "lw": 5, "ls": (0, (2, 1))}}
STAGES = {1: "five batches", 2: "without augmentation", 3: "with augmentation"}
LINES = plt.cycler(color=[BLUE, ORANGE, "#38761d", "#741b47"], linestyle=["-", "--", "-.", ":"], marker=list("os^D"))
STYLE = {
    "font.size": 15, "axes.titlesize": 15, "lines.linewidth": 2.5, "axes.prop_cycle": LINES, "axes.grid": True,
    "grid.alpha": 0.3, "figure.constrained_layout.use": True, "figure.dpi": 100,
    "text.parse_math": False,  # a $ in a class name is a $
}  # fmt: skip
CJK = ("Noto Sans CJK KR", "Noto Sans CJK JP", "NanumGothic", "Malgun Gothic", "Apple SD Gothic Neo")
warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # else one line per letter that no font has


@cache
def font_families():
    """DejaVu Sans, then the installed fonts for Korean, Japanese and Chinese names (Colab: apt-get, fonts-nanum)."""
    for path in font_manager.findSystemFonts():
        if "CJK" in path or "NanumGothic" in path:
            font_manager.fontManager.addfont(path)  # matplotlib's own list may be older than the font
    return ["DejaVu Sans", *(family for family in CJK if family in font_manager.get_font_names())]


def _styled(plot):
    """Draw in the course's style without changing yours; the figure is closed, so a notebook shows it only once."""

    @wraps(plot)
    def styled(*args, **kwargs):
        with plt.rc_context({**STYLE, "font.family": font_families()}):
            figure = plot(*args, **kwargs)
            plt.close(figure)
            return figure

    return styled


@_styled
def plot_history(histories):
    """Plot loss (top) and accuracy (bottom) per epoch, one column per stage; histories: {stage number: history}."""
    figure, axes = plt.subplots(2, len(histories), figsize=(WIDTH, 8), squeeze=False, sharey="row", sharex="col")
    for (number, history), (top, bottom) in zip(sorted(histories.items()), axes.T):
        points = [(entry["epoch"], entry["loss"], entry["train_accuracy"]) for entry in history]
        epochs, losses, accuracies = zip(*points)
        sparse = max(1, len(history) // 10)  # a marker on every epoch would hide the line
        top.plot(epochs, losses, markevery=sparse)
        bottom.plot(epochs, accuracies, markevery=sparse, label="training images (running average of the epoch)")
        heldout = [(e["epoch"], e["heldout_accuracy"]) for e in history if e["heldout_accuracy"] is not None]
        if heldout:
            bottom.plot(*zip(*heldout), markevery=sparse, label="held-out images (plain)")
        top.set(title=f"Stage {number}\n{STAGES[number]}", ylabel="mean loss (nats)")
        _accuracy(bottom, ylim=(-0.03, 1.03), xlabel="epoch")
    for axis in figure.axes:
        axis.label_outer()
    figure.legend(*bottom.get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


@_styled
def plot_sweep(curves, title):
    """Plot accuracy per pass over the five batches for each setting; curves: {label: [share in [0, 1], …]}."""
    figure, axis = plt.subplots(figsize=(9, 5))
    for label, accuracies in curves.items():
        axis.plot(range(1, len(accuracies) + 1), accuracies, label=label)
    _accuracy(axis, title=title, xlabel="passes over the five batches")
    axis.legend()
    return figure


def _accuracy(axis, **properties):
    axis.set(ylabel="accuracy (%)", **properties)
    axis.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    low, high = axis.get_ylim()  # reaches below 0 % and above 100 %, so that the frame doesn't hide a line there
    ticks = [tick for tick in axis.get_yticks() if max(0, low) <= round(tick, 9) <= min(1, high)]
    axis.set_yticks(ticks, [f"{100 * tick:.3g}" for tick in ticks])
    axis.set_ylim(low, high)


@_styled
def plot_images(images, captions, columns=6):
    """Show images in a grid, each with a caption; images: uint8 (n, S, S, 3) or float (n, 3, S, S) in [-1, 1]."""
    columns = min(columns, len(captions))
    rows, side, lines = -(-len(captions) // columns), WIDTH / max(6, columns), 1 + captions[0].count("\n")
    figure = plt.figure(figsize=(side * columns, rows * (0.9 * side + 0.24 * lines)))
    figure.get_layout_engine().set(wspace=0.1, hspace=0.06)  # neighbouring frames don't touch
    for number, (image, caption) in enumerate(zip(images, captions), 1):
        axis = figure.add_subplot(rows, columns, number)
        _show(axis, image)
        axis.set_title(caption, fontsize=13)
    return figure


def _show(axis, image):
    if image.dtype.is_floating_point:
        image = ((image.permute(1, 2, 0) + 1) * 127.5).round().clip(0, 255).byte()
    axis.imshow(image.cpu().numpy(), interpolation="nearest" if len(image) < 128 else "auto")
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def plot_class_samples(images, categories, columns=6):
    """Show the first `columns` images of each class; images: Images, categories: the numbers of the classes."""
    chosen = [i for category in categories for i in (images.labels == category).nonzero().flatten()[:columns].tolist()]
    return plot_images(images.batch(chosen), [short(images.classes[images.labels[i]]) for i in chosen], columns)


@_styled
def plot_predictions(images, labels, probabilities, classes, columns=6):
    """Show predictions: ✓ in a thin frame if right, ✗ in a thick dashed one, with the true class, if wrong.

    images: as in `plot_images`. labels: int64 (n,), −1 where unknown. probabilities: float (n, 80).
    """
    shares, predicted = probabilities.max(1)
    marks, captions, length = [], [], 105 // max(6, columns)
    for label, guess, share in zip(labels.tolist(), predicted.tolist(), shares.tolist()):
        marks.append("" if label < 0 else "✓ " if label == guess else "✗ ")
        truth = f"is: {short(classes[label], length)}" if marks[-1] == "✗ " else ""
        captions.append(f"{marks[-1]}{short(classes[guess], length)}\n{share:.0%}\n{truth}")
    figure = plot_images(images, captions, columns)
    for axis, mark in zip(figure.axes, marks):
        axis.spines[:].set(visible=True, capstyle="butt", **FRAMES[mark])
    return figure


@_styled
def plot_top_five(image, probabilities, classes):
    """Show one image beside its five likeliest classes; image: uint8 (S, S, 3), probabilities: float (80,)."""
    shares, best = (values.tolist() for values in probabilities.topk(5))
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(1, 1.6))
    _show(left, image)
    bars = right.barh(range(5), shares, tick_label=[short(classes[i]) for i in best], color=BLUE)
    right.bar_label(bars, [f"{share:.0%}" for share in shares], padding=4)
    right.invert_yaxis()
    right.set(xlim=(0, 1.14), xticks=[0, 0.5, 1], xticklabels=[0, 50, 100], xlabel="probability (%)")
    return figure


@_styled
def plot_confusion(labels, predicted, names):
    """Plot how often each class (row) is taken for each other (column); labels, predicted: int64 (n,)."""
    count, step = len(names), -(-len(names) // 20)  # 20 names at most
    matrix = (labels * count + predicted).bincount(minlength=count**2).reshape(count, count)
    figure, axis = plt.subplots(figsize=(10, 8.5))
    shares = (matrix / matrix.sum(1, keepdim=True).clamp(min=1)).numpy()
    picture = axis.imshow(shares, "Greys", aspect="auto", vmin=0, vmax=1)
    ticks, shown = range(0, count, step), [short(name, 14) for name in names[::step]]
    axis.set_xticks(ticks, shown, rotation=90, fontsize=13)
    axis.set_yticks(ticks, shown, fontsize=13)
    axis.set(xlabel="predicted class", ylabel="true class")
    axis.grid(False)
    figure.colorbar(picture, format=PercentFormatter(1, symbol=""), label="share of the true class's images (%)")
    return figure


def keep(figure, path):
    """Write a figure as a PNG file of 128 colours, and return it so that a cell shows it; raises DiskError."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", facecolor="white")
    with replacing(path) as file:
        Image.open(drawn).convert("RGB").quantize(128, kmeans=3, dither=0).save(file, "png", optimize=True)
    return figure


def short(name, length=20):
    """Shorten a class name: up to its first comma, at most `length` letters wide (a Korean letter counts twice)."""
    name = unicodedata.normalize("NFC", name.split(",")[0])
    widths = accumulate(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name)
    fitting = sum(width <= length for width in widths)
    return name if fitting == len(name) else name[: fitting - 1] + "…"
