"""Figures for the back row: every function takes data and returns a Figure; style *and* colour tell things apart."""

from functools import wraps
from itertools import cycle

import matplotlib.pyplot as plt
from matplotlib.ticker import MaxNLocator, PercentFormatter

from .files import result_file
from .fonts import drawable

_STYLE = {
    "font.size": 15,
    "axes.titlesize": 15,
    "axes.labelsize": 15,
    "legend.fontsize": 13,
    "lines.linewidth": 2.5,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "figure.constrained_layout.use": True,
    "figure.dpi": 80,
    "savefig.dpi": 100,
    "text.parse_math": False,  # a $ in a class name is a $
}
_TRAINING, _HELDOUT = {"color": "#0b5394", "linestyle": "-"}, {"color": "#c35200", "linestyle": "--", "marker": "o"}
_LINES = [
    ("#0b5394", "-", "o"),
    ("#c35200", "--", "s"),
    ("#38761d", "-.", "^"),
    ("#741b47", ":", "D"),
    ("#555555", "-", "x"),
]
_STAGES = {1: "five batches", 2: "without augmentation", 3: "with augmentation"}


def _styled(plot):
    """Draw in the course's style without changing anybody else's, and keep the figure from being shown twice in a
    notebook."""

    @wraps(plot)
    def styled(*args, **kwargs):
        with plt.rc_context(_STYLE):
            figure = plot(*args, **kwargs)
            plt.close(figure)
            return figure

    return styled


@_styled
def plot_history(histories):
    """Loss (above) and accuracy (below) of each stage, an epoch a point. histories: {stage number: history of
    `train`}."""
    figure, axes = plt.subplots(
        2, len(histories), figsize=(5.2 * len(histories) + 1, 8), squeeze=False, sharey="row", sharex="col"
    )
    for (number, history), (above, below) in zip(sorted(histories.items()), axes.T):
        epochs = [entry["epoch"] for entry in history]
        training = {"label": "training images (running)", "marker": "s" if len(history) == 1 else None, **_TRAINING}
        above.plot(epochs, [entry["loss"] for entry in history], **training)
        below.plot(epochs, [entry["train_accuracy"] for entry in history], **training)
        measured = [
            (entry["epoch"], entry["heldout_accuracy"]) for entry in history if entry["heldout_accuracy"] is not None
        ]
        if measured:
            below.plot(*zip(*measured), label="held-out images (plain)", markersize=5, **_HELDOUT)
        above.set_title(f"Stage {number}: {_STAGES[number]}")
        below.set_xlabel("epoch")
        below.set_ylim(0, 1.03)
        below.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        below.yaxis.set_major_formatter(PercentFormatter(1))
        if len(history) == 1:  # a line of one point is not seen
            below.set_xlim(0, 2)
        below.legend(loc="best")
    axes[0, 0].set_ylabel("mean loss (nats)")
    axes[1, 0].set_ylabel("accuracy (%)")
    return figure


@_styled
def plot_sweep(curves, title):
    """Accuracy on the five batches, pass by pass, for each setting tried. curves: {label: [share in [0, 1], …]}."""
    curves = {drawable(label): accuracies for label, accuracies in curves.items()}
    figure, axes = plt.subplots(figsize=(9, 5))
    for (label, accuracies), (colour, line, marker) in zip(curves.items(), cycle(_LINES)):
        axes.plot(range(1, len(accuracies) + 1), accuracies, color=colour, linestyle=line, marker=marker, label=label)
    axes.set(title=title, xlabel="passes over the five batches", ylabel="accuracy (%), running", ylim=(0, 1.03))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend()
    return figure


@_styled
def plot_images(images, captions, columns=6):
    """A grid of images with a caption each. images: uint8 (n, S, S, 3) or float (n, 3, S, S) in [-1, 1]."""
    return _grid(images, captions, columns)[0]


@_styled
def plot_class_samples(images, categories, columns=6):
    """A row of images for each class: its first `columns` ones. images: Images. categories: the classes shown."""
    names = [short(images.classes[category]) for category in categories]
    figure, axes = plt.subplots(
        len(categories), columns, figsize=(1.6 * columns + 2.5, 1.7 * len(categories)), squeeze=False
    )
    for row, category, name in zip(axes, categories, names):
        positions = (images.labels == category).nonzero().flatten()[:columns]
        for axis in row:
            _bare(axis)
        for axis, image in zip(row, images.batch(positions)):
            axis.imshow(image.cpu().numpy())
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=13)
    return figure


@_styled
def plot_class_histogram(bank):
    """How many images each class has: training images above, held-out images below, an axis in images each."""
    figure, axes = plt.subplots(2, 1, figsize=(11, 6), sharex=True)
    count = len(bank.classes)
    for axis, images, name, colour, hatch in zip(
        axes, (bank.train, bank.heldout), ("training", "held-out"), (_TRAINING["color"], _HELDOUT["color"]), ("", "///")
    ):
        axis.bar(
            range(count), images.labels.bincount(minlength=count).tolist(), color=colour, hatch=hatch, edgecolor="white"
        )
        axis.set(title=f"{len(images):,} {name} images", ylabel="images a class", xlim=(-1, count))
        axis.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    axes[1].set_xlabel(f"class (0–{count - 1})")
    return figure


@_styled
def plot_predictions(images, labels, probabilities, classes, columns=6):
    """Predictions with their probability: right ones ✓ in a thin frame, wrong ones ✗ in a thick dashed one, with the
    truth.

    images: uint8 (n, S, S, 3). labels: int (n,), −1 where the truth is unknown. probabilities: float (n, 80).
    """
    confidence, predicted = probabilities.max(1)
    captions, right = [], []
    for label, guess, share in zip(labels.tolist(), predicted.tolist(), confidence.tolist()):
        right.append(None if label < 0 else label == guess)
        mark = {None: "", True: "✓ ", False: "✗ "}[right[-1]]
        truth = f"\nis: {short(classes[label])}" if right[-1] is False else "\n"
        captions.append(f"{mark}{short(classes[guess])}\n{share:.0%}{truth}")
    figure, axes = _grid(images, captions, columns)
    for axis, is_right in zip(axes, right):
        colour, line, width = {
            None: ("#555555", "-", 1),
            True: ("#0b5394", "-", 2),
            False: ("#c35200", (0, (3, 2)), 6),
        }[is_right]
        for spine in axis.spines.values():
            spine.set(visible=True, color=colour, linestyle=line, linewidth=width)
    return figure


def _grid(images, captions, columns):
    captions = [drawable(caption) for caption in captions]
    columns = min(columns, len(captions))
    rows, lines = -(-len(captions) // columns), 1 + max(caption.count("\n") for caption in captions)
    figure, axes = plt.subplots(rows, columns, figsize=(2.5 * columns, (2.5 + lines * 0.27) * rows), squeeze=False)
    for axis in axes.flat:
        _bare(axis)
    for axis, image, caption in zip(axes.flat, images, captions):
        if image.dtype.is_floating_point:
            image = (image.permute(1, 2, 0) + 1) / 2
        axis.imshow(image.clip(0, 1 if image.dtype.is_floating_point else 255).cpu().numpy())
        axis.set_title(caption, fontsize=13)
    return figure, axes.flat[: len(captions)]


def _bare(axis):
    axis.set(xticks=[], yticks=[])
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)


@_styled
def plot_top_five(image, probabilities, classes):
    """One image beside its five likeliest classes. image: uint8 (S, S, 3). probabilities: float (80,)."""
    shares, best = probabilities.topk(5)
    names = [short(classes[i]) for i in best.tolist()]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4), width_ratios=(1, 1.6))
    left.imshow(image.cpu().numpy())
    left.set_axis_off()
    right.barh(range(5), shares.tolist(), tick_label=names, color="#0b5394")  # names need not differ
    right.invert_yaxis()
    right.set(xlim=(0, 1), xlabel="probability (%)")
    right.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def keep(figure, path):
    """Write a figure as a PNG file, and hand it back to be shown. Raises DataError where the disk refuses."""
    with result_file(path) as file:
        figure.savefig(file, format="png", facecolor="white")
    return figure


def short(name, length=20):
    """A class name that fits above a picture: up to its first comma, cut with … where it is still too long."""
    name = drawable(name.split(",")[0])
    return name if len(name) <= length else name[: length - 1] + "…"
