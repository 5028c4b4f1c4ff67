"""course_lib/verdicts.py: how often a verdict is false, and which differences it finds."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib import DataError
from course_lib.verdicts import judge, judge_all, t_quantile

COMPARISONS = 8  # in a family: each of eight variants against one baseline
SEEDS, IMAGES = 5, 640


def simulated(families, variants=COMPARISONS + 1, *, images=0.7, luck=0.13, planted=0.0, redrawn=0):
    """Which images were right if all variants are equally good: bool (families, variants, seeds,
    images).

    Images differ in difficulty, some suit one variant more than another (`images`), and each
    training has luck (`luck`: about two percentage points); all as standard deviations of the
    logit. planted: how much better the second variant is. redrawn: if not 0, every seed has images
    of its own, and luck of this size that all its variants share.
    """
    random = np.random.default_rng(0)
    of_images = SEEDS if redrawn else 1

    def normal(spread, *shape):
        return spread * random.standard_normal((families, *shape), dtype=np.float32)

    logits = 0.5 + normal(2.0, 1, of_images, IMAGES)
    logits = logits + normal(images, variants, of_images, IMAGES)
    logits = logits + normal(luck, variants, SEEDS, 1) + normal(redrawn, 1, SEEDS, 1)
    logits[:, 1] += planted
    return random.random(logits.shape, dtype=np.float32) < 1 / (1 + np.exp(-logits))


def has_a_verdict(family, paired=False):
    """Whether any of a family's variants is better or worse than the first."""
    baseline, *variants = family
    verdicts = [judge(right, baseline, len(variants), paired) for right in variants]
    return any(one.verdict != "no clear difference" for one in verdicts)


@pytest.mark.parametrize(
    "world",
    [
        {},
        {"images": 1.2, "luck": 0.06},  # mostly the images'
        {"images": 0.0, "luck": 0.25},  # mostly the seeds': four points
        {"redrawn": 0.3},  # as in `make seeds`
    ],
    ids=str,
)
def test_equally_good_variants_get_a_verdict_in_at_most_5_percent_of_families(world):
    families = simulated(250, **world)
    accuracies = families.mean(-1)
    assert 0.5 < accuracies.mean() < 0.8
    assert 0.012 < accuracies.std(2, ddof=1).mean() < 0.06
    paired = "redrawn" in world
    false = np.mean([has_a_verdict(family, paired) for family in families])
    print(f"{world}: a false verdict in {false:.1%} of families")
    assert false <= 0.05


def test_a_difference_of_eight_points_is_found_in_four_of_five_families():
    differences, found, said = [], [], []
    for planted in (0.4, 0.5, 0.6, 0.7):
        verdicts = []
        for one, other in simulated(200, variants=2, planted=planted):
            verdicts.append(judge(other, one, COMPARISONS))
        differences.append(np.mean([each.difference for each in verdicts]))
        found.append(np.mean([each.verdict == "better" for each in verdicts]))
        said.append(np.mean([each.smallest_found for each in verdicts]))
    at_80_percent = np.interp(0.8, found, differences)
    print(f"found in 80% of families: {at_80_percent:.1f} points; smallest_found: {said}")
    assert found[0] < 0.8 < found[-1]
    assert 6.5 < at_80_percent < 8.5
    assert np.allclose(said, at_80_percent, atol=1)


@given(seed=st.integers(0, 99), comparisons=st.integers(1, 20), paired=st.booleans())
def test_what_a_verdict_must_not_depend_on(seed, comparisons, paired):
    random = np.random.default_rng(seed)
    one, other = random.random((2, 4, 50)) < random.random((2, 1, 50))
    verdict = judge(one, other, comparisons, paired)
    reverse = judge(other, one, comparisons, paired)
    assert np.allclose(reverse[:3], [-verdict.difference, -verdict.high, -verdict.low])
    rows, columns = random.permutation(4), random.permutation(50)
    shuffled = judge(one[rows][:, columns], other[rows][:, columns], comparisons, paired)
    assert np.allclose(shuffled, verdict)
    assert verdict.difference == pytest.approx(100 * (one.mean() - other.mean()))
    assert (verdict.low + verdict.high) / 2 == pytest.approx(verdict.difference)
    more = judge(one, other, comparisons + 1, paired)
    assert more.low < verdict.low and more.high > verdict.high
    assert verdict.smallest_found > verdict.high - verdict.difference


def test_more_seeds_do_not_average_the_images_away():
    random = np.random.default_rng(0)
    one, other = random.random((2, 1, 640)) < 0.5
    alone = judge(one, other)
    repeated = judge(np.repeat(one, 20, axis=0), np.repeat(other, 20, axis=0))
    assert np.allclose(repeated[:4], alone[:4])


def test_luck_that_belongs_to_no_seed_and_no_image_counts_once():
    one, other = np.random.default_rng(0).random((2, 60, 60)) < 0.5
    verdict = judge(one, other)
    of_coins = 196 * np.sqrt(2 * 0.25 / 60**2)  # heads or tails, 3,600 times each
    assert verdict.high - verdict.difference == pytest.approx(of_coins, rel=0.15)


def test_paired_seeds_see_past_what_all_variants_of_a_seed_share():
    paired, unpaired = [], []
    for one, other in simulated(50, variants=2, planted=0.8, redrawn=1.0):
        paired.append(judge(other, one, paired=True).verdict == "better")
        unpaired.append(judge(other, one).verdict == "better")
    assert np.mean(paired) > 0.8 > 0.4 > np.mean(unpaired)


def test_one_seed_is_judged_by_its_images_alone():
    right = np.zeros((2, 1, 1000), dtype=bool)
    right[0, 0, :300] = True
    right[1, 0, 100:400] = True  # 100 images only the one gets right, 100 only the other
    verdict = judge(*right)
    assert verdict.difference == 0 and verdict.seeds == 1
    # McNemar's standard error is √(number of images that differ) / number of images.
    assert verdict.high == pytest.approx(100 * 1.96 * np.sqrt(200) / 1000, rel=0.01)
    assert "other seeds" in str(verdict)


@pytest.mark.parametrize("differ, expected", [(5, "no clear difference"), (6, "better")])
def test_five_images_are_no_verdict(differ, expected):
    """Five coins fall the same way in 6% of cases; 100 images that both get right say nothing."""
    right = np.ones((2, 3, 100), dtype=bool)
    right[1, :, :differ] = False
    assert judge(*right).verdict == expected


@pytest.mark.parametrize(
    "seeds, images, share, comparisons",
    [(2, 10, 0.5, 1), (2, 10, 0.9, 1), (2, 10, 0.7, 4), (2, 20, 0.9, 8), (5, 10, 0.9, 4)],
)
def test_with_few_seeds_and_images_no_more_verdicts_are_false(seeds, images, share, comparisons):
    """Where the seeds' accuracies happened to be equal, the interval had no width."""
    random = np.random.default_rng(2)
    false = 0
    for _ in range(400):
        family = random.random((comparisons + 1, seeds, images)) < share
        false += has_a_verdict(family)
    assert false / 400 <= 0.05


@pytest.mark.parametrize("seeds", [(2, 10), (8, 2), (3, 20)])
def test_unequal_numbers_of_seeds_do_not_make_more_verdicts_false(seeds):
    """Two seeds may be alike by luck; many of the other variant don't change that."""
    random = np.random.default_rng(3)
    false = 0
    for _ in range(600):
        luck = [random.normal(0.5, 0.1, (count, 1)) for count in seeds]
        one, other = [random.random((len(shares), 400)) < shares for shares in luck]
        false += judge(one, other).verdict != "no clear difference"
    print(f"{seeds}: a false verdict in {false / 600:.1%} of cases")
    assert false / 600 <= 0.05


@pytest.mark.parametrize("images", [6, 10, 30, 100])
@pytest.mark.parametrize("ahead, behind", [(0.05, 0.0), (0.02, 0.02), (0.0, 0.1)])
def test_the_interval_holds_the_true_difference_if_networks_rarely_differ(images, ahead, behind):
    """Two networks that agree on ten images aren't sure to agree on all others."""
    random = np.random.default_rng(4)
    inside = 0
    for _ in range(400):
        chance = random.random((1, images))
        one = chance < ahead
        other = chance > 1 - behind
        verdict = judge(one, other)
        inside += verdict.low <= 100 * (ahead - behind) <= verdict.high
    assert inside / 400 >= 0.93


def test_equal_accuracies_of_the_seeds_are_no_certainty():
    one = np.array([[1, 1, 1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1, 1, 1]], dtype=bool)
    verdict = judge(one, np.array([[1, 0] * 4, [0, 1] * 4], dtype=bool))
    assert verdict.low < 0 < verdict.difference < verdict.high


def test_with_very_few_images_nothing_can_be_found():
    right = np.ones((2, 3, 4), dtype=bool)
    right[1] = False
    verdict = judge(*right)
    assert verdict.verdict == "no clear difference" and "none could be found" in str(verdict)
    two = judge(np.eye(2, dtype=bool)[[0, 1, 0]], np.ones((3, 2)))
    assert two.high - two.difference <= 100


def test_a_verdict_says_better_worse_or_what_would_be_found():
    _, none = simulated(1, variants=2)[0]
    one, other = simulated(1, variants=2, planted=2.0)[0]
    assert judge(other, one).verdict == "better"
    assert judge(one, other).verdict == "worse"
    unclear = judge(none, none[::-1])
    assert unclear.verdict == "no clear difference"
    assert f"{unclear.smallest_found:.1f} points" in str(unclear)


def test_a_family_shares_out_its_5_percent():
    right = dict(zip("abcd", simulated(1, variants=4)[0]))
    verdicts = judge_all(right, baseline="b")
    assert list(verdicts) == ["a", "c", "d"]
    assert verdicts["c"] == judge(right["c"], right["b"], comparisons=3)


@pytest.mark.parametrize(
    "degrees, share, expected",  # from the tables of Student's t
    [
        (1, 0.975, 12.706),
        (4, 0.5, 0.0),
        (4, 0.975, 2.776),
        (4, 0.995, 4.604),
        (8, 0.8, 0.889),
        (10, 0.9995, 4.587),
        (639, 0.975, 1.9637),
    ],
)
def test_students_t(degrees, share, expected):
    assert t_quantile(share, degrees) == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(
    "one, other, paired, named",
    [
        ((5, 640), (5, 320), False, "640 images.*320"),
        ((5, 640), (640,), False, r"\(640,\)"),
        ((5, 640), (3, 640), True, "5 seeds.*3"),
        ((5, 1), (5, 1), False, "two images"),
    ],
)
def test_what_cannot_be_compared_is_an_error(one, other, paired, named):
    with pytest.raises(DataError, match=named):
        judge(np.ones(one), np.ones(other), paired=paired)


def test_variants_may_have_different_numbers_of_seeds():
    one, other = simulated(1, variants=2)[0]
    fewer = judge(one, other[:2])
    assert fewer.seeds == 2
    assert fewer.high - fewer.low > judge(one, other).high - judge(one, other).low


@pytest.mark.parametrize("images", range(6, 26))
def test_two_networks_that_differ_by_luck_get_a_verdict_in_at_most_5_percent_of_cases(images):
    """Each always names one class; each image is of either class, with equal chances."""
    chance = 0.0
    for right in range(images + 1):
        one = np.zeros((1, images))
        one[:, :right] = 1
        if judge(one, 1 - one).verdict != "no clear difference":
            chance += math.comb(images, right) / 2**images
    assert chance <= 0.05


@pytest.mark.parametrize("seeds", [2, 3])
def test_trainings_that_end_with_one_answer_for_all_images_are_not_certain(seeds):
    """By chance, each ends with one class or the other; 70% of the images are of the first."""
    images = np.arange(60) < 42
    endings = list(itertools.product([images, ~images], repeat=seeds))
    verdicts = [
        judge(np.stack(one), np.stack(other)).verdict
        for one, other in itertools.product(endings, repeat=2)
    ]
    clear = [verdict for verdict in verdicts if verdict != "no clear difference"]
    assert len(clear) <= 0.05 * len(verdicts)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -0.1, 55.0])
def test_only_shares_are_judged(wrong):
    right = np.full((2, 10), 0.5)
    right[1, 3] = wrong
    with pytest.raises(DataError):
        judge(right, np.full((2, 10), 0.5))
    with pytest.raises(DataError):
        judge(np.full((2, 10), 0.5), right)


def test_a_family_has_at_least_one_comparison_and_a_variant_one_seed():
    right = np.full((2, 10), 0.5)
    with pytest.raises(DataError, match="0"):
        judge(right, right, comparisons=0)
    with pytest.raises(DataError):
        judge(right[:0], right)
