"""Is one variant better than another? Verdicts that account for the seeds and for the images.

Train a network again with another seed, and its accuracy changes. Measure it on other images, and
it changes, too. A difference between two variants is therefore random in two ways, and as all seeds
are usually measured on the same images, more seeds don't average the images' part away. A verdict
is an interval around the difference that is wide enough for both, and for the number of comparisons
shown together: if eight of them have no difference at all, the chance that any of the eight is
called "better" or "worse" is at most 5%. `tests/test_verdicts.py` tries that.

The methods: two random factors, here seeds and images (Clark, "The language-as-fixed-effect
fallacy", 1973; Owen, "The pigeonhole bootstrap", 2007); variants whose spread differs (Welch, "The
generalization of 'Student's' problem when several different population variances are involved",
1947); an interval for a sum of two parts (Howe, "Approximate confidence limits on the mean of X + Y
where X and Y are two tabled independent random variables", 1974); several comparisons (Dunn,
"Multiple comparisons among means", 1961, known as Bonferroni's correction); the smallest difference
that would be found (Bloom, "Minimum detectable effects", 1995).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .errors import DataError

FALSE_VERDICTS = 0.05  # the share of families (comparisons shown together) with one or more
FEWEST = 6  # images on which two variants differ: five coins fall the same way in 6% of cases
FOUND = 0.8  # how often a difference of `smallest_found` gets a verdict


class Verdict(NamedTuple):
    """How far one variant is ahead of another, in percentage points, and how sure that is."""

    difference: float  # of the accuracies, averaged over the seeds
    low: float  # the interval's ends
    high: float
    smallest_found: float  # a difference as large as this is found four times out of five
    seeds: int  # 1: the seeds' part is unknown, so the verdict is about these two networks

    @property
    def verdict(self) -> str:
        """In words: "better" or "worse" if the interval excludes 0, else "no clear difference"."""
        if self.low > 0:
            return "better"
        if self.high < 0:
            return "worse"
        return "no clear difference"

    @property
    def would_be_found(self) -> str:
        """What to say beside "no clear difference": "one of 5.8 points would probably be found"."""
        if self.smallest_found > 100:
            return "with so few seeds or images, none could be found"
        return f"one of {self.smallest_found:.1f} points would probably be found"

    def __str__(self) -> str:
        """The verdict as text: "+4.1 points (-0.8 to +9.0): no clear difference (…)"."""
        text = (
            f"{self.difference:+.1f} points ({self.low:+.1f} to {self.high:+.1f}): {self.verdict}"
        )
        if self.seeds == 1:
            text += " of these two networks; other seeds may differ"
        if self.verdict == "no clear difference":
            text += f" ({self.would_be_found})"
        return text


class Source(NamedTuple):
    """One reason why a difference is random: the seeds, or the images."""

    variance: float  # its part of the difference's variance; of shares, not percentage points
    degrees: float  # of freedom: how well that variance is known


def judge(one: ArrayLike, other: ArrayLike, comparisons: int = 1, paired: bool = False) -> Verdict:
    """How far the variant `one` is ahead of `other`.

    one, other: which images were right, bool (seeds, images), or shares in [0, 1], such as averages
    over epochs; the images of both are the same. comparisons: how many are shown together. paired:
    whether row s of both also shares what row s of others doesn't, such as the training images
    (`make seeds` generates them anew for every seed; `make compare` doesn't). Networks that share
    only a seed needn't be paired: after many steps, equal initial weights no longer matter; if they
    did, the interval would be too wide, not too narrow. If `one` and `other` differ on fewer than
    six images, the interval is so wide that six might have differed. Raises DataError if the shapes
    don't match.
    """
    one, other = _checked(one, other, paired)
    if comparisons < 1:
        raise DataError(f"{comparisons} comparisons are shown together: it's at least this one.")
    difference = 100 * (one.mean() - other.mean())
    sources = _sources(one, other, paired)
    certain = _certain(comparisons)
    margin = 100 * _width(sources, [certain])
    few = 100 * FEWEST / one.shape[1]
    if np.count_nonzero(one.mean(0) != other.mean(0)) < FEWEST:
        margin = max(margin, few)  # of other images, so many may differ; it's above the difference
    if _chance_of_luck(one, other) > FALSE_VERDICTS / comparisons:
        margin = max(margin, abs(difference))
    margin = min(margin, 100.0)  # t has long tails if there are two or three images
    found = 100 * _width(sources, [certain, FOUND])
    return Verdict(
        difference=float(difference),
        low=float(difference - margin),
        high=float(difference + margin),
        smallest_found=max(found, few),
        seeds=min(len(one), len(other)),
    )


def judge_all(right: dict[str, np.ndarray], baseline: str) -> dict[str, Verdict]:
    """Judge each variant against the baseline, as one family: {variant: verdict}.

    right: {variant: bool (seeds, images)}, with the baseline.
    """
    variants = [name for name in right if name != baseline]
    verdicts = {}
    for name in variants:
        verdicts[name] = judge(right[name], right[baseline], len(variants))
    return verdicts


@functools.cache
def t_quantile(share: float, degrees: float) -> float:
    """The value that Student's t stays below with probability `share`, in [0.5, 1).

    degrees: of freedom, above 0. With t = √degrees · tan(angle), the angle's density is
    proportional to cos(angle)^(degrees − 1); it's summed in small steps, to about four digits.
    """
    angles = np.linspace(0, np.pi / 2, 2001)
    middles = (angles[:-1] + angles[1:]) / 2
    below = np.concatenate([[0.0], np.cumsum(np.cos(middles) ** (degrees - 1))])
    angle = np.interp(2 * share - 1, below / below[-1], angles)
    return float(math.sqrt(degrees) * np.tan(angle))


def _checked(one, other, paired):
    """Both as float64 (seeds, images). Raises DataError if they can't be compared."""
    one = np.asarray(one, dtype=np.float64)
    other = np.asarray(other, dtype=np.float64)
    for right in (one, other):
        if right.ndim != 2 or len(right) == 0:
            raise DataError(f"The shape is {right.shape}; it should be (seeds, images).")
        if not ((right >= 0) & (right <= 1)).all():
            raise DataError("Give which images were right, or shares from 0 to 1.")
    if one.shape[1] != other.shape[1]:
        raise DataError(f"One has {one.shape[1]} images, the other {other.shape[1]}.")
    if one.shape[1] < 2:
        raise DataError("A verdict needs two images or more.")
    if paired and len(one) != len(other):
        raise DataError(f"One has {len(one)} seeds, the other {len(other)}: they can't be paired.")
    return one, other


def _certain(comparisons: int) -> float:
    """The quantile for each of several comparisons: the 5% are shared out, half to either side."""
    return 1 - FALSE_VERDICTS / comparisons / 2


def _chance_of_luck(one: np.ndarray, other: np.ndarray) -> float:
    """How often coins would fall as unevenly as what can't be judged by its variance; else 0.

    With one seed, a coin for each image on which the two differ: heads if `one` is right. (This is
    the sign test; for two networks, McNemar's.) If all seeds of a variant give the same answers,
    such as one class for all images, their variance is 0 by luck: a coin for each training.
    """
    if min(len(one), len(other)) == 1:
        ahead = int(np.count_nonzero(one.mean(0) > other.mean(0)))
        behind = int(np.count_nonzero(one.mean(0) < other.mean(0)))
        return _sign_test(min(ahead, behind), ahead + behind)
    if (one == one[0]).all() and (other == other[0]).all():
        return _sign_test(0, len(one) + len(other))
    return 0.0


def _sign_test(fewer: int, coins: int) -> float:
    """How often `coins` coins show one side at most `fewer` times, whichever side that is."""
    ways = sum(math.comb(coins, number) for number in range(fewer + 1))
    return min(1.0, 2 * ways / 2**coins)


def _sources(one: np.ndarray, other: np.ndarray, paired: bool) -> list[Source]:
    """What makes the difference random: the images and, with two seeds or more, the seeds.

    If the images are others for every seed, the images' part is about 0: it's in the seeds' part.
    """
    count = one.shape[1]
    images = (one.mean(0) - other.mean(0)).var(ddof=1) / count
    if min(len(one), len(other)) == 1:
        return [Source(float(images), count - 1)]
    independent = [one - other] if paired else [one, other]
    seeds = []
    for right in independent:
        noise = _noise(right)
        # Seeds whose accuracies happen to be equal still vary by their noise.
        of_seeds = max(right.mean(1).var(ddof=1) / len(right), noise)
        seeds.append(Source(float(of_seeds), len(right) - 1))
        images -= noise  # it's in both parts; it should count once
    # With two seeds of one variant and many of the other, Welch's interval is too narrow: up to 12%
    # of its verdicts are false.
    if len(one) == len(other):
        seeds = [_together(seeds)]
    return [*seeds, Source(max(0.0, float(images)), count - 1)]


def _together(sources: Sequence[Source]) -> Source:
    """Sources with equal degrees of freedom as one (Welch)."""
    variance = sum(source.variance for source in sources)
    squares = sum(source.variance**2 / source.degrees for source in sources)
    return Source(variance, variance**2 / squares if squares > 0 else 1.0)


def _noise(right: np.ndarray) -> float:
    """The part of the mean's variance that belongs to no seed and to no image, but to both.

    It's the luck that one training has with one image. right: float (seeds, images).
    """
    seeds, images = right.shape
    expected = right.mean(1, keepdims=True) + right.mean(0) - right.mean()
    squares = ((right - expected) ** 2).sum() / ((seeds - 1) * (images - 1))
    return float(squares / right.size)


def _width(sources: Sequence[Source], shares: Sequence[float]) -> float:
    """How far the sources can move the difference, in shares: √Σ (quantile · standard error)².

    The quantile is t's, with the source's degrees of freedom. shares: of one or more quantiles,
    which are added up.
    """
    total = 0.0
    for source in sources:
        quantiles = sum(t_quantile(share, source.degrees) for share in shares)
        total += source.variance * quantiles**2
    return math.sqrt(total)
