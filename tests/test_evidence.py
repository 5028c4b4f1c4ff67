"""What the comparisons' notebooks conclude from: verdicts, halves, tables, figures and cards."""

import re

import numpy as np
import pytest

from course_lib.differences import plot_verdicts
from course_lib.tables import verdict_card
from experiments.evidence import CLAIMED, Evidence, stored_evidence
from experiments.stored import pack_right


def measured(accuracies, seeds=5, images=400):
    """Evidence in which each variant is right about some share of the images, by chance."""
    random = np.random.default_rng(0)
    runs = {}
    right = {}
    for name, accuracy in accuracies.items():
        entry = {"train_accuracy": 0.9, "heldout_accuracy": accuracy}
        runs[name] = [[entry] * 4] * seeds
        right[name] = [pack_right(random.random(images) < accuracy) for _ in range(seeds)]
    found = {"trained": 100, "measured": images, "size": 32, "runs": runs, "right": right}
    return Evidence("some-data", found)


def test_a_large_difference_gets_a_verdict_and_a_small_one_doesnt():
    evidence = measured({"baseline": 0.5, "constant width": 0.9, "crop alone": 0.51})
    verdicts = evidence.verdicts(["baseline", "constant width", "crop alone"], "baseline")
    assert verdicts["constant width"].verdict == "better"
    assert verdicts["crop alone"].verdict == "no clear difference"
    assert verdicts["constant width"].difference == pytest.approx(40, abs=5)


def test_variants_that_are_missing_are_left_out():
    evidence = measured({"baseline": 0.5, "augmented": 0.4})
    assert set(evidence.verdicts(CLAIMED, "baseline")) == {"augmented"}
    assert "augmented" in evidence.table(CLAIMED)
    assert "crop alone" not in evidence.table(CLAIMED)
    assert not evidence.can_be_judged


def test_the_halves_share_no_image_and_leave_none_out():
    evidence = measured({"baseline": 0.5}, images=401)
    to_choose, to_measure = evidence.halves(["baseline"])
    whole = evidence.right(["baseline"])["baseline"]
    both = np.concatenate([to_choose["baseline"], to_measure["baseline"]], axis=1)
    assert both.shape == whole.shape and (both.sum(1) == whole.sum(1)).all()
    assert abs(to_choose["baseline"].shape[1] - to_measure["baseline"].shape[1]) <= 1
    # Every class is in both halves, however the images are ordered.
    positions = np.zeros((1, 401), dtype=bool)
    positions[0, ::2] = True
    found = dict(evidence.found, right={"baseline": [pack_right(positions[0])]})
    to_choose, _ = Evidence("some-data", found).halves(["baseline"])
    assert 0.3 < to_choose["baseline"].mean() < 0.7


@pytest.mark.parametrize("seeds", [1, 5])
def test_a_table_says_how_sure_an_accuracy_is(seeds):
    [_, _, row] = measured({"baseline": 0.5}, seeds).table(["baseline"]).splitlines()
    error = "5.0" if seeds == 1 else "0.0"  # 2 √(0.5 · 0.5 / 400); equal seeds have no spread
    assert re.split(r"\s*\|\s*", row)[1:-1] == ["baseline", str(seeds), "90%", f"50.0 ± {error}%"]


def test_stored_evidence_is_read_whether_it_can_be_judged_or_not():
    evidence = {each.run: each for each in stored_evidence()}
    assert not evidence["tiny80-full-64px"].can_be_judged
    for each in evidence.values():
        assert str(each).startswith(each.run) and len(each.late("baseline")) > 0
    assert evidence["shapes-lecture"].can_be_judged


def test_the_figure_shows_each_verdict_by_its_own_mark():
    evidence = measured({"baseline": 0.5, "better": 0.9, "worse": 0.1, "equal": 0.5})
    figure = plot_verdicts(evidence.right(list(evidence.found["runs"])), "baseline", "Variants")
    [axis] = figure.axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["better", "worse", "equal"]
    markers = {}
    for container in axis.containers:
        line = container.lines[0]
        markers[container.get_label()] = line.get_marker(), float(line.get_xdata()[0])
    assert len({marker for marker, _ in markers.values()}) == 3
    assert markers["better"][1] > 30 and markers["worse"][1] < -30
    assert "better: +" in figure.alt and "equal: " in figure.alt


def test_a_figure_of_some_variants_judges_all_of_them():
    """What is shown together in a notebook is one family, also if each has a figure of its own."""
    right = measured({"baseline": 0.5, "one": 0.6, "two": 0.6, "three": 0.6}).right(
        ["baseline", "one", "two", "three"]
    )
    [whole] = plot_verdicts(right, "baseline", "Variants").axes
    [part] = plot_verdicts(right, "baseline", "Variants", show=["one"]).axes
    ends = [axis.containers[0].lines[1][0].get_xdata()[0] for axis in (whole, part)]
    assert ends[0] == ends[1]


def test_a_card_has_the_claim_the_verdict_and_the_reasons():
    card = verdict_card("The moon is cheese", "doesn't hold", ["It's rock.", "We tasted it."])
    assert card._repr_markdown_() == str(card)
    for text in ("The moon is cheese", "doesn't hold", "It's rock.", "We tasted it."):
        assert text in card
    assert all(line.startswith(">") for line in card.splitlines())
