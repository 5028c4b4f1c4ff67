"""Figures you can read from the back row: 1280 pixels wide at most, and colour is never the only code."""

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
FRAMES = {"": ("#555555", "-", 1), "✓ ": (BLUE, "-", 2), "✗ ": (ORANGE, (0, (2, 1)), 5)}  # unknown, right, wrong
STAGES = {1: "five batches", 2: "without augmentation", 3: "with augmentation"}
LINES = plt.cycler(color=[BLUE, ORANGE, "#38761d", "#741b47"], linestyle=["-", "--", "-.", ":"], marker=list("os^D"))
STYLE = {
    "font.size": 15,
    "axes.titlesize": 15,
    "axes.prop_cycle": LINES,
    "lines.linewidth": 2.5,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "figure.constrained_layout.use": True,
    "figure.dpi": 100,
    "text.parse_math": False,  # a $ in a class name is a $
}
CJK = (
    "Noto Sans CJK KR",
    "Noto Sans CJK JP",
    "Noto Sans CJK SC",
    "NanumGothic",
    "Malgun Gothic",
    "Apple SD Gothic Neo",
)
warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)  # else one line per letter that no font has


@cache
def font_families():
    """DejaVu Sans, then the installed fonts for Korean, Japanese and Chinese names (Colab: apt-get, fonts-nanum)."""
    known = {font.fname for font in font_manager.fontManager.ttflist}
    for path in font_manager.findSystemFonts():  # matplotlib's own list may be older than an installed font
        if path not in known and any(word in path for word in ("CJK", "NanumGothic")):
            font_manager.fontManager.addfont(path)
    installed = set(font_manager.get_font_names())
    return ["DejaVu Sans", *(family for family in CJK if family in installed)]


def _styled(plot):
    """Draw in the course's style without changing yours; the figure is closed, so a notebook shows it only once."""

    @wraps(plot)
    def styled(*args, **kwargs):
        with plt.rc_context({**STYLE, "font.family": font_families()}):
            figure = plot(*args, **kwargs)
            figure.draw_without_rendering()  # makes the tick labels while the style is in force
            plt.close(figure)
            return figure

    return styled


@_styled
def plot_history(histories):
    """Plot loss (top) and accuracy (bottom) per epoch, one column per stage; histories: {stage number: history}."""
    figure, axes = plt.subplots(2, len(histories), figsize=(WIDTH, 8), squeeze=False, sharey="row", sharex="col")
    for (number, history), (top, bottom) in zip(sorted(histories.items()), axes.T):
        epochs, sparse = [entry["epoch"] for entry in history], max(1, len(history) // 10)
        top.plot(epochs, [entry["loss"] for entry in history], markevery=sparse)
        name = "training images (running average of the epoch)"
        bottom.plot(epochs, [entry["train_accuracy"] for entry in history], markevery=sparse, label=name)
        heldout = [(e["epoch"], e["heldout_accuracy"]) for e in history if e["heldout_accuracy"] is not None]
        if heldout:
            bottom.plot(*zip(*heldout), markevery=sparse, label="held-out images (plain)")
        top.set_title(f"Stage {number}\n{STAGES[number]}")
        bottom.set_xlabel("epoch")
        bottom.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes[0, 0].set_ylabel("mean loss (nats)")
    _percent(axes[1, 0], ylim=(-0.03, 1.03))
    figure.legend(*axes[1, -1].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return figure


@_styled
def plot_sweep(curves, title):
    """Plot accuracy per pass over the five batches for each setting; curves: {label: [share in [0, 1], …]}."""
    figure, axis = plt.subplots(figsize=(9, 5))
    for label, accuracies in curves.items():
        axis.plot(range(1, len(accuracies) + 1), accuracies, label=label)
    axis.margins(y=0.06)
    _percent(axis, title=title, xlabel="passes over the five batches")
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.legend()
    return figure


def _percent(axis, **properties):
    axis.set(ylabel="accuracy (%)", **properties)
    low, high = axis.get_ylim()  # reaches below 0 % and above 100 %, so that the frame doesn't hide a line there
    ticks = [tick for tick in axis.get_yticks() if max(0, low) <= round(tick, 9) <= min(1, high)]
    axis.set_yticks(ticks, [f"{100 * tick:.3g}" for tick in ticks])
    axis.set_ylim(low, high)


@_styled
def plot_images(images, captions, columns=6):
    """Show images in a grid, each with a caption; images: uint8 (n, S, S, 3) or float (n, 3, S, S) in [-1, 1]."""
    columns = min(columns, len(captions))
    rows, lines = -(-len(captions) // columns), 1 + max(caption.count("\n") for caption in captions)
    side = WIDTH / max(6, columns)
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
def plot_class_histogram(bank):
    """Plot the number of images per class of a Bank: training images above, held-out images below."""
    figure, axes = plt.subplots(2, 1, figsize=(11, 6), sharex=True)
    parts = (bank.train, "training", BLUE, ""), (bank.heldout, "held-out", ORANGE, "///")
    for axis, (images, name, colour, hatch) in zip(axes, parts):
        counts = images.labels.bincount(minlength=len(bank.classes)).tolist()
        axis.bar(range(len(counts)), counts, color=colour, hatch=hatch, edgecolor="white")
        axis.set(title=f"{len(images):,} {name} images", ylabel="images per class", xlim=(-1, len(counts)))
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes[1].set_xlabel(f"class (0–{len(bank.classes) - 1})")
    return figure


@_styled
def plot_predictions(images, labels, probabilities, classes, columns=6):
    """Show predictions: ✓ in a thin frame if right, ✗ in a thick dashed one, with the true class, if wrong.

    images: as in `plot_images`. labels: int (n,), −1 where unknown. probabilities: float (n, 80).
    """
    shares, predicted = probabilities.max(1)
    marks, captions, length = [], [], 105 // max(6, columns)
    for label, guess, share in zip(labels.tolist(), predicted.tolist(), shares.tolist()):
        marks.append("" if label < 0 else "✓ " if label == guess else "✗ ")
        truth = f"is: {short(classes[label], length)}" if marks[-1] == "✗ " else ""
        captions.append(f"{marks[-1]}{short(classes[guess], length)}\n{share:.0%}\n{truth}")
    figure = plot_images(images, captions, columns)
    for axis, mark in zip(figure.axes, marks):
        colour, line, width = FRAMES[mark]
        axis.spines[:].set(visible=True, color=colour, linestyle=line, linewidth=width, capstyle="butt")
    return figure


@_styled
def plot_top_five(image, probabilities, classes):
    """Show one image beside its five likeliest classes; image: uint8 (S, S, 3), probabilities: float (80,)."""
    shares, best = probabilities.topk(5)
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(1, 1.6))
    _show(left, image)
    names = [short(classes[i]) for i in best.tolist()]
    bars = right.barh(range(5), shares.tolist(), tick_label=names, color=BLUE)
    right.bar_label(bars, [f"{share:.0%}" for share in shares.tolist()], padding=4)
    right.invert_yaxis()
    right.set(xlim=(0, 1.14), xlabel="probability (%)")
    right.set_xticks([0, 0.25, 0.5, 0.75, 1], [0, 25, 50, 75, 100])
    return figure


@_styled
def plot_confusion(labels, predicted, names):
    """Plot how often each class (row) is taken for each other (column); labels, predicted: int64 (n,)."""
    count, step = len(names), -(-len(names) // 20)  # 20 names at most
    pairs = (labels * count + predicted)[labels >= 0]
    matrix = pairs.bincount(minlength=count**2).reshape(count, count).float()
    figure, axis = plt.subplots(figsize=(10, 8.5))
    picture = axis.imshow(matrix / matrix.sum(1, keepdim=True).clamp(min=1), "Greys", aspect="auto", vmin=0, vmax=1)
    shown = [short(name, 14) for name in names[::step]]
    axis.set_xticks(range(0, count, step), shown, rotation=90, fontsize=13)
    axis.set_yticks(range(0, count, step), shown, fontsize=13)
    axis.set(xlabel="predicted class", ylabel="true class")
    axis.grid(False)
    figure.colorbar(picture, format=PercentFormatter(1, symbol=""), label="share of the true class's images (%)")
    return figure


def keep(figure, path):
    """Write a figure as a PNG file of 128 colours, and return it so that a cell shows it; raises DiskError."""
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", facecolor="white")
    with replacing(path) as file:
        Image.open(drawn).convert("RGB").quantize(128, dither=Image.Dither.NONE).save(file, "png", optimize=True)
    return figure


def short(name, length=20):
    """Shorten a class name: up to its first comma, at most `length` letters wide (a Korean letter counts twice)."""
    name = unicodedata.normalize("NFC", name.split(",")[0])
    widths = accumulate(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in name)
    fitting = sum(width <= length for width in widths)
    return name if fitting == len(name) else name[: fitting - 1] + "…"
