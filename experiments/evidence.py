"""What notebooks 11 and 12 conclude from: the variants that `make compare` has measured."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import mean
from typing import Any

import numpy as np

from course_lib import markdown_table
from course_lib.tables import Markdown
from course_lib.verdicts import Verdict, judge_all

from .compare import RECIPES, VARIANTS, late
from .stored import read_stored, spread, unpack_seeds

CLAIMED = [name for name in VARIANTS if name == "augmented" or name not in RECIPES]


@dataclass(frozen=True)
class Evidence:
    """Variants of one data set, each trained with one or more seeds.

    run: the name of its folder in `results/`. found: what `compare_variants` returns.
    """

    run: str
    found: dict[str, Any]

    def histories(self, variant: str) -> list[Any]:
        """The history of each seed; none if the variant hasn't been trained."""
        return self.found["runs"].get(variant, [])

    @property
    def epochs(self) -> int:
        """How long each variant was trained."""
        return max(len(history) for runs in self.found["runs"].values() for history in runs)

    def late(self, variant: str) -> list[float]:
        """Held-out accuracy with each seed, averaged over the last three epochs, in percent."""
        return [100 * late(history) for history in self.histories(variant)]

    @property
    def can_be_judged(self) -> bool:
        """Whether it's stored, for all variants, which images were right."""
        return set(VARIANTS) <= set(self.found.get("right", {}))

    def right(self, variants: list[str]) -> dict[str, np.ndarray]:
        """Which of the measured images were right after the last epoch: bool (seeds, images)."""
        texts = self.found["right"]
        count = self.found["measured"]
        return {name: unpack_seeds(texts[name], count) for name in variants if name in texts}

    def halves(self, variants: list[str]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """`right` for one half of the images, to choose on, and for the other, to measure on."""
        shuffled = np.random.default_rng(0).permutation(self.found["measured"])
        middle = len(shuffled) // 2
        to_choose = {}
        to_measure = {}
        for name, right in self.right(variants).items():
            to_choose[name] = right[:, shuffled[:middle]]
            to_measure[name] = right[:, shuffled[middle:]]
        return to_choose, to_measure

    def verdicts(self, variants: list[str], baseline: str) -> dict[str, Verdict]:
        """Judge these variants against the baseline, which is one of them, as one family."""
        return judge_all(self.right(variants), baseline)

    def table(self, variants: list[str]) -> Markdown:
        """Accuracy of each variant: mean and standard deviation over the seeds.

        Accuracy on held-out images is averaged over the last three epochs, as by `late`; that on
        training images is a running one. Where there's one seed, the last column
        has two standard errors of the accuracy instead, which the choice of the images causes.
        """
        rows = [["variant", "seeds", "training images (running)", "held-out images"]]
        for name in variants:
            histories = self.histories(name)
            if not histories:
                continue
            training = mean(history[-1]["train_accuracy"] for history in histories)
            shares = [late(history) for history in histories]
            rows.append([name, str(len(shares)), f"{training:.0%}", self._spread(shares)])
        return markdown_table(rows)

    def _spread(self, shares: list[float]) -> str:
        if len(shares) > 1:
            return spread(shares)
        [share] = shares
        error = (share * (1 - share) / self.found["measured"]) ** 0.5
        return f"{100 * share:.1f} ± {200 * error:.1f}%"

    def __str__(self) -> str:
        """What was trained, on what, and how often."""
        size = self.found["size"]
        counts = {len(histories) for histories in self.found["runs"].values()}
        seeds = " or ".join(str(count) for count in sorted(counts))
        return (
            f"{self.run}: {self.found['trained']:,} images of {size} × {size} pixels to train on, "
            f"{self.found['measured']:,} to measure on; {len(self.found['runs'])} of "
            f"{len(VARIANTS)} variants; seeds of each: {seeds}"
        )


def stored_evidence() -> list[Evidence]:
    """What is stored in `results/`, a data set at a time."""
    return [Evidence(run, found) for run, found in read_stored("compare.json").items()]
