"""The figure of verdicts: how far variants are ahead of a baseline, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .captions import short
from .pictures import BLUE, ORANGE, WIDTH, Picture, styled
from .verdicts import Verdict, judge_all

# How a verdict looks: by shape, too, for those who see no difference between the colours.
LOOKS: dict[str, dict[str, Any]] = {
    "better": {"color": BLUE, "marker": "^"},
    "worse": {"color": ORANGE, "marker": "v"},
    "no clear difference": {"color": "#555555", "marker": "o", "markerfacecolor": "white"},
}
ONE_SEED: dict[str, Any] = {
    "color": "#999999",
    "marker": "|",
    "markersize": 14,
    "markeredgewidth": 2,
    "linestyle": "",
}
LEAST_LIMIT = 15.0  # points that the axis may reach
BEYOND = 2.0  # … or this many times as far as the accuracies that were measured


@styled
def plot_verdicts(
    right: Mapping[str, np.ndarray], baseline: str, title: str, show: list[str] | None = None
) -> Picture:
    """Plot how far each variant is ahead of the baseline, with the interval of `judge`.

    right: {variant: which images were right, bool (seeds, images)}, with the baseline. All variants
    are judged as one family. show: those that are drawn; None: all.
    """
    verdicts = judge_all(dict(right), baseline)
    names = list(verdicts) if show is None else show
    figure = Picture((WIDTH, 2.2 + 0.55 * len(names)), title, _in_words(title, verdicts, names))
    axis = figure.subplots()
    axis.axvline(0, color="black", linewidth=1.5)
    heights = range(len(names), 0, -1)  # the first one on top
    furthest = LEAST_LIMIT
    for height, name in zip(heights, names):
        ahead = 100 * (right[name].mean(1) - right[baseline].mean())
        furthest = max(furthest, BEYOND * abs(ahead).max())
        if len(ahead) > 1:
            axis.plot(ahead, [height] * len(ahead), label="one seed", **ONE_SEED)
        _plot_verdict(axis, verdicts[name], height)
    axis.set_yticks(heights, [short(name, 32) for name in names])
    axis.set_ylim(0.4, len(names) + 0.6)
    low, high = axis.get_xlim()
    axis.set_xlim(max(low, -furthest), min(high, furthest))  # too wide an interval runs off it
    axis.set_xlabel(f"points ahead of “{short(baseline, 32)}” on held-out images")
    lines, labels = axis.get_legend_handles_labels()
    once = dict(zip(labels, lines))
    figure.legend(once.values(), once.keys(), loc="outside lower center", ncols=4, fontsize=13)
    return figure


def _plot_verdict(axis: Any, verdict: Verdict, height: float) -> None:
    """Draw a difference as a marker, and its interval as a line with ends."""
    look = LOOKS[verdict.verdict]
    beyond = [[verdict.difference - verdict.low], [verdict.high - verdict.difference]]
    axis.errorbar(
        [verdict.difference],
        [height],
        xerr=beyond,
        label=verdict.verdict,
        markersize=11,
        capsize=6,
        linestyle="",
        elinewidth=2.5,
        **look,
    )


def _in_words(title: str, verdicts: Mapping[str, Verdict], names: list[str]) -> str:
    """The figure as a text: its title, and each verdict."""
    sentences = [f"{name}: {verdicts[name]}" for name in names]
    return f"{title}. {'; '.join(sentences)}."
