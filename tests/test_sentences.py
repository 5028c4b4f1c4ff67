"""Conclusions in the notebooks are derived here from the stored results, with their numbers.

A conclusion is a bold sentence, followed by a marker: `<!-- holds: name -->`. The function of that
name derives it from the files in `results/`, fails if they don't say so, and returns the numbers
that the sentence quotes, in its order.
"""

import csv
import json
import math
import re
from pathlib import Path
from statistics import mean

import numpy as np
import pytest

from course_lib import judge
from experiments import compare
from experiments.evidence import CLAIMED, Evidence

ROOT = Path(__file__).resolve().parent.parent
SHAPES = ROOT / "results" / "shapes-lecture"
PHOTOGRAPHS = ROOT / "results" / "tiny80-full-64px"
MARKER = re.compile(r"<!-- holds: (\w+) -->")
CONCLUSION = re.compile(r"\*\*([^*]+)\*\*\s+" + MARKER.pattern)
NUMBER = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?%?")
WORDS = {"three": "3", "four": "4", "five": "5"}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def seeds():
    """What `make seeds` stored for each seed."""
    return list(read(SHAPES / "seeds.json")["seeds"].values())


def final(name, images="heldout_plain"):
    """Each seed's accuracy at the end of a stage or control, in percent."""
    return [100 * run[name]["final"][images] for run in seeds()]


def percent(number):
    return f"{number:.1f}%"


def differences(these, those):
    """How far these are ahead of those, seed by seed, in points."""
    return [one - other for one, other in zip(these, those, strict=True)]


def highest(history):
    """The entry of the epoch with the highest held-out accuracy."""
    return max(history, key=lambda entry: entry["heldout_accuracy"])


# --- What holds


def five_batches_are_memorised():
    accuracies = final("1", "train_plain")
    assert len(accuracies) == 5 and min(accuracies) > 95
    return ["5", str(len(accuracies)), percent(min(accuracies)), "160"]


def last_three(history):
    """The loss averaged over the last three epochs."""
    return mean(entry["loss"] for entry in history[-3:])


def late_losses(name):
    """The late loss of a run of `make sweeps` with each seed."""
    runs = read(SHAPES / "sweeps.json")["five_batches"][name]
    assert len(runs) == 5
    return [last_three(run) for run in runs]


def a_large_rate_hardly_learns():
    large = late_losses("lr 0.1")
    others = late_losses("lr 0.01") + late_losses("lr 0.001")
    epochs = len(read(SHAPES / "sweeps.json")["five_batches"]["lr 0.1"][0])
    assert min(large) > 3 * max(others)
    return ["5", str(epochs), f"{min(large):.2f}", "0.01", f"{max(others):.2f}"]


def larger_batches_memorise_more_per_step():
    large = late_losses("batches of 64")
    small = late_losses("batches of 16")
    assert max(large) < min(late_losses("batches of 32")) and max(large) < min(small)
    return ["5", f"{max(large):.2f}", "64", f"{min(small):.2f}", "16"]


def fewer_layers_memorise_as_fast():
    lower = []
    for cut_off, whole in zip(late_losses("conv1–conv3"), late_losses("lr 0.01"), strict=True):
        lower.append(cut_off < whole)
    assert sum(lower) > len(lower) / 2
    return ["20", str(sum(lower)), str(len(lower))]


def shortcuts_tame_gradients():
    networks = read(SHAPES / "sweeps.json")["gradients"]
    ratios = {}
    for name, kinds in networks.items():
        first, *_, last = kinds["1×1, conv1"]
        ratios[name] = first / last
    assert ratios["without"] > 5 * ratios["with the short-cut"]
    return ["1", "1", f"{ratios['without']:.0f}", f"{ratios['with the short-cut']:.0f}"]


def training_images_are_memorised():
    training = final("2", "train_plain")
    heldout = final("2")
    assert len(training) == 5 and min(training) > max(heldout) + 30
    return [str(len(training)), percent(min(training)), percent(max(heldout))]


def photographs_are_memorised_too():
    results = read(PHOTOGRAPHS / "results.json")
    measured = results["stages"]["2"]["final"]
    assert measured["train_plain"] > measured["heldout_plain"] + 0.5
    number = f"{results['data']['train']:,}"
    return [
        number,
        percent(100 * measured["train_plain"]),
        percent(100 * measured["heldout_plain"]),
    ]


def training_longer_made_it_worse():
    best = [highest(run["2"]["epochs"])["epoch"] for run in seeds()]
    [epochs] = {len(run["2"]["epochs"]) for run in seeds()}
    [further] = {len(run["more plain epochs"]["epochs"]) for run in seeds()}
    assert max(differences(final("more plain epochs"), final("2"))) < 0
    assert max(best) < epochs / 1.5
    return [str(number) for number in (len(best), min(best), max(best), epochs, further, epochs)]


def augmentation_is_the_reason():
    ahead = differences(final("3"), final("more plain epochs"))
    assert len(ahead) == 5 and min(ahead) > 10
    return ["3", f"{min(ahead):.1f}", f"{max(ahead):.1f}", str(len(ahead))]


def early_stopping_is_not_enough():
    """Both are measured on the sample of held-out images that a curve is made of."""
    best = [100 * highest(run["2"]["epochs"])["heldout_accuracy"] for run in seeds()]
    last = [100 * run["3"]["epochs"][-1]["heldout_accuracy"] for run in seeds()]
    ahead = differences(last, best)
    assert min(ahead) > 5
    return ["3", f"{min(ahead):.1f}", f"{max(ahead):.1f}", "2"]


def the_detour_costs_accuracy():
    cost = differences(final("augmented from scratch"), final("3"))
    assert min(cost) > 0
    return ["100%", f"{sum(cost) / len(cost):.0f}", str(len(cost))]


def augmented_images_stay_hard():
    accuracies = final("augmented from scratch", "train_augmented")
    [epochs] = {len(run["augmented from scratch"]["epochs"]) for run in seeds()}
    assert max(accuracies) < 90
    return [str(epochs), percent(max(accuracies))]


def mistakes_are_one_sided():
    """Of the generated test images, number i is of class i % 80: motif × 20 + colour."""
    with (SHAPES / "result.csv").open(encoding="utf-8", newline="") as file:
        predicted = np.array([int(row["class"]) for row in csv.DictReader(file)])
    true = np.arange(len(predicted)) % 80
    accuracy = read(SHAPES / "results.json")["stages"]["3"]["final"]["heldout_plain"]
    assert (predicted == true).mean() == accuracy  # the same run
    wrong = predicted != true
    right_colour = (predicted % 20 == true % 20)[wrong].mean()
    other_motif = predicted // 20 != true // 20
    from_stripes = np.count_nonzero(other_motif & (true // 20 == 0))
    to_stripes = np.count_nonzero(other_motif & (predicted // 20 == 0))
    assert right_colour > 0.5 and from_stripes > 5 * to_stripes
    return [f"{right_colour:.0%}", str(from_stripes), str(to_stripes)]


def parts_are_easier_than_wholes():
    middles = read(SHAPES / "sweeps.json")["crops"]["centre"]
    whole = read(SHAPES / "results.json")["stages"]["3"]["final"]["heldout_plain"]
    assert middles["1.0"] == whole  # the same run
    assert middles["0.75"] > whole + 0.03
    shares = [middles["0.75"], middles["1.0"], middles["0.08"]]
    enlarged, all_of_it, close_up = [percent(100 * share) for share in shares]
    return [enlarged, "75%", all_of_it, "8%", close_up]


def compared():
    """What `make compare` stored for the generated images."""
    return Evidence("shapes-lecture", read(SHAPES / "compare.json"))


def points(number):
    return f"{abs(number):.1f}"


def interval(verdict):
    """The ends of a verdict's interval, as a sentence quotes them; signs are left out."""
    return [points(verdict.low), points(verdict.high)]


def augmentation_takes_time():
    evidence = compared()
    early = evidence.verdicts(CLAIMED, "baseline")["augmented"]
    ahead = differences(final("augmented from scratch"), final("more plain epochs"))
    assert early.verdict == "worse"
    assert len(ahead) == 5 and min(ahead) > 0
    behind = [points(-early.difference), points(-early.high), points(-early.low)]
    small = str(evidence.found["size"])
    large = str(read(SHAPES / "results.json")["settings"]["size"])
    long = str(len(seeds()[0]["augmented from scratch"]["epochs"]))
    short = [str(evidence.epochs), small, small, *behind]
    return [*short, long, large, large, points(min(ahead)), points(max(ahead)), "5"]


def without_shortcut_nothing_is_learned():
    evidence = compared()
    histories = evidence.histories("without short-cut")
    guessing = math.log(80)
    assert all(history[-1]["loss"] > guessing for history in histories)
    best = max(evidence.late("without short-cut"))
    return [str(evidence.epochs), str(len(histories)), f"{guessing:.2f}", percent(best)]


def the_loss_ends_ten_times_as_large():
    shortcut = read(SHAPES / "sweeps.json")["shortcut"]
    assert {len(run) for runs in shortcut.values() for run in runs} == {44}
    losses = {}
    for rate, runs in shortcut.items():
        losses[rate] = mean(last_three(run) for run in runs)
    with_it = mean(last_three(run["2"]["epochs"]) for run in seeds())
    ratio = losses["0.01"] / with_it
    assert len(shortcut["0.01"]) == 3 and ratio >= 10
    assert losses["0.01"] > losses["0.003"] > losses["0.001"] > 10 * with_it
    rescued = f"{losses['0.001']:.2f}"
    return [
        "2",
        "44",
        "64",
        "64",
        f"{losses['0.01']:.2f}",
        f"{with_it:.2f}",
        f"{ratio:.0f}",
        "0.001",
        rescued,
    ]


def cannot_be_told(variant):
    """What's quoted of a variant that's ahead of the baseline, but perhaps by luck."""
    evidence = compared()
    verdict = evidence.verdicts(CLAIMED, "baseline")[variant]
    assert verdict.low < 0 < verdict.difference < verdict.high
    size = str(evidence.found["size"])
    return [size, size, str(verdict.seeds), points(verdict.difference), *interval(verdict)]


def the_bottleneck_is_not_clearly_worse():
    return cannot_be_told("two 3×3 convolutions")


def constant_width_is_not_clearly_better():
    return cannot_be_told("constant width")


def one_cycle_gives_most():
    verdicts = compared().verdicts(list(compare.RECIPES), "augmented")
    alone = verdicts["one-cycle"]
    assert alone.verdict == "better"
    others = ("milder augmentation", "weight decay", "label smoothing")
    assert all(verdicts[name].difference < alone.difference / 2 for name in others)
    return [points(alone.difference), *interval(alone)]


def the_others_may_add_nothing():
    right = compared().right(["all four", "one-cycle"])
    verdict = judge(right["all four"], right["one-cycle"])
    assert verdict.verdict == "no clear difference" and verdict.difference > 0
    found = f"{verdict.smallest_found:.1f}"
    return ["3", str(verdict.seeds), "4", points(verdict.difference), found]


def the_recipe_pays_off_on_photographs():
    reports = read(PHOTOGRAPHS / "results.json")
    recipe = read(PHOTOGRAPHS / "recipe.json")["stages"]["3"]
    stages = [reports["stages"][number] for number in ("2", "3")]
    ours = recipe["final"]["heldout_plain"]
    theirs = stages[1]["final"]["heldout_plain"]
    assert ours > theirs
    return [
        f"{reports['data']['train']:,}",
        percent(100 * ours),
        str(len(recipe["epochs"])),
        "2",
        "3",
        percent(100 * theirs),
        str(sum(len(stage["epochs"]) for stage in stages)),
    ]


FINDINGS = {
    function.__name__: function
    for function in (
        five_batches_are_memorised,
        a_large_rate_hardly_learns,
        larger_batches_memorise_more_per_step,
        fewer_layers_memorise_as_fast,
        shortcuts_tame_gradients,
        training_images_are_memorised,
        photographs_are_memorised_too,
        training_longer_made_it_worse,
        augmentation_is_the_reason,
        early_stopping_is_not_enough,
        the_detour_costs_accuracy,
        augmented_images_stay_hard,
        mistakes_are_one_sided,
        parts_are_easier_than_wholes,
        augmentation_takes_time,
        without_shortcut_nothing_is_learned,
        the_loss_ends_ten_times_as_large,
        the_bottleneck_is_not_clearly_worse,
        constant_width_is_not_clearly_better,
        one_cycle_gives_most,
        the_others_may_add_nothing,
        the_recipe_pays_off_on_photographs,
    )
}


# --- What the notebooks say


def texts():
    """The text of each notebook and page: without the # of its Markdown cells, in one line."""
    for path in sorted(ROOT.glob("notebooks/*.py")):
        lines = path.read_text(encoding="utf-8").splitlines()
        yield " ".join(line.removeprefix("# ").removeprefix("#") for line in lines)
    for path in sorted(ROOT.glob("notebooks/*.md")):
        yield " ".join(path.read_text(encoding="utf-8").split())


def conclusions():
    """All conclusions: [(name, sentence), …]."""
    found = []
    for text in texts():
        for sentence, name in CONCLUSION.findall(text):
            found.append((name, sentence))
    return found


def test_every_marker_belongs_to_a_bold_sentence_and_every_finding_is_said():
    marked = [name for text in texts() for name in MARKER.findall(text)]
    assert sorted(marked) == sorted(name for name, _ in conclusions())
    assert set(marked) == set(FINDINGS)


@pytest.mark.parametrize("name, sentence", conclusions())
def test_the_results_say_so_and_so_do_the_numbers(name, sentence):
    for word, digit in WORDS.items():
        sentence = re.sub(rf"\b{word}\b", digit, sentence)
    assert NUMBER.findall(sentence) == FINDINGS[name]()
