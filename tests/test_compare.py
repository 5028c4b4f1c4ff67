"""experiments/: variants that differ in what they name, and in nothing else. And what is kept
in `results/`."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from data_sets import png, report_files, write_folder
from hypothesis import example, given
from hypothesis import strategies as st
from tiny import linear_model, noise_images

from course_lib import (
    DataError,
    MyModel,
    SettingsError,
    evaluate,
    loops,
    open_course,
    predict,
    read_results,
    res_block,
    results,
)
from course_lib import stored as stored_for
from course_lib.experiment import Course
from course_lib.homes import CHECKOUT
from course_lib.loops import Measured
from experiments import compare, seeds, stored


@pytest.fixture
def asked(monkeypatch):
    """What is asked of `trial`, which trains nothing here: a list of (images, (model's class,
    block), options)."""
    calls = []

    def trial(course, images, *, model, **options):
        calls.append((images, model, options))
        history = []
        for _ in range(options["epochs"]):
            history.append({"loss": 1.0, "heldout_accuracy": 0.5})
        history[-1]["heldout_right"] = [True] + [False] * (len(options["heldout"]) - 1)
        return history

    monkeypatch.setattr(compare, "trial", trial)
    monkeypatch.setattr(
        compare, "get_model", lambda model_class, seed, block, classes: (model_class, block)
    )
    monkeypatch.setattr(compare, "trained_model", lambda course, stage: linear_model())
    monkeypatch.setattr(
        compare,
        "train_control",
        lambda course, name, epochs: {"epochs": [{}] * epochs, "final": {}},
    )
    return calls


def test_the_variants_are_trained_at_equal_budget(course, asked):
    lecture = replace(course, preset="lecture")
    found = compare.compare_variants(lecture)
    plan = compare.PLANS["lecture"]
    assert {name: len(runs) for name, runs in found["runs"].items()} == dict.fromkeys(
        compare.VARIANTS, plan.seeds
    )
    assert {options["epochs"] for _, _, options in asked} == {plan.epochs}
    assert {options["seed"] for _, _, options in asked} == set(range(plan.seeds))
    images, (heldout, *_) = asked[0][0], (options["heldout"] for _, _, options in asked)
    assert all(images.names == others.names for others, _, _ in asked)
    assert all(heldout.names == options["heldout"].names for _, _, options in asked)
    (_, model, baseline), (_, same_model, options) = (
        asked[0],
        asked[len(compare.VARIANTS)],
    )  # with the next seed
    assert model == same_model == (MyModel, res_block)
    assert options | {"seed": 0, "heldout": None} == baseline | {"heldout": None}


def test_two_variants_never_ask_for_the_same_training(course, asked):
    compare.compare_variants(course)
    differences = [(model, options | {"heldout": None}) for _, model, options in asked]
    assert all(one != other for i, one in enumerate(differences) for other in differences[:i])


def test_held_out_images_of_a_large_data_set_stay_untouched(course, asked, monkeypatch):
    monkeypatch.setattr(compare, "TRAINED", 3)
    monkeypatch.setattr(compare, "MEASURED", 2)
    found = compare.compare_variants(
        replace(course, data=replace(course.data, train=noise_images(400), heldout=None))
    )
    images, _, options = asked[0]
    assert 0 < found["measured"] < found["trained"] and not {*images.names} & {
        *options["heldout"].names
    }
    assert set(images.labels.bincount().tolist()) <= {0, 1, 2, 3}


def test_what_is_measured_is_kept_after_each_variant_and_found_by_its_data_preset_and_size(
    environment, asked, tmp_path, monkeypatch
):
    environment(PRESET="smoke")
    for module in (stored, results):
        monkeypatch.setattr(module, "CHECKOUT", tmp_path)
    monkeypatch.setattr(
        compare,
        "VARIANTS",
        {
            "baseline": compare.Variant(),
            "weight decay": compare.Variant(settings={"weight_decay": 0.1}),
        },
    )
    monkeypatch.setattr(compare, "stage_2_on_transforms", lambda course: {"plain": 1.0})
    before_each = []
    train_variant = compare.train_variant

    def watched(*what):
        before_each.append(stored_variants())
        return train_variant(*what)

    monkeypatch.setattr(compare, "train_variant", watched)
    compare.main()
    assert before_each == [[], ["baseline"]]
    assert stored_variants() == ["baseline", "weight decay"]
    [found] = stored.read_stored("compare.json").values()
    assert list(found["controls"]) == list(seeds.CONTROLS) and all(
        name in compare.variants_table(found) for name in seeds.CONTROLS
    )
    course = open_course()
    assert stored_for(course, "compare.json") == stored.read_stored("compare.json")["shapes-smoke"]
    assert (
        stored_for(replace(course, settings=replace(course.settings, size=64)), "compare.json")
        is None
    )
    fewer = replace(
        course.data, train=course.data.train.take(5)
    )  # somebody else's data of the same name
    assert stored_for(replace(course, data=fewer), "compare.json") is None


def stored_variants():
    [found] = stored.read_stored("compare.json").values()
    return list(found["runs"])


def test_each_transform_is_measured_alone(course, asked, monkeypatch):
    seen = []

    def evaluate(model, images, course, augmented=False):
        seen.append((course.settings, augmented))
        return Measured(0, 0.5, 1, "")

    monkeypatch.setattr(compare, "evaluate", evaluate)
    found = compare.stage_2_on_transforms(course)
    assert list(found) == ["plain", "flips alone", "rotation alone", "crop alone", "augmented"]
    (_, plain), (flips, _), (rotation, _), (crop, _), (everything, augmented) = seen
    assert not plain and augmented and everything == course.settings
    assert (flips.crop, flips.degrees, flips.flips) == (1, 0, course.settings.flips)
    assert (rotation.crop, rotation.degrees, rotation.flips) == (1, course.settings.degrees, (0, 0))
    assert (crop.crop, crop.degrees, crop.flips) == (course.settings.crop, 0, (0, 0))


def test_controls_start_where_their_names_say(course, monkeypatch):
    trained = []
    monkeypatch.setattr(
        seeds,
        "train",
        lambda model, images, stage, **how: trained.append((model, stage, how)) or [],
    )
    monkeypatch.setattr(loops, "trained_model", lambda course, number: f"of stage {number}")
    monkeypatch.setattr(Course, "new_model", lambda course: "new")
    monkeypatch.setattr(seeds, "measure", lambda model, course: {})
    monkeypatch.setattr(seeds, "heldout_right", lambda model, course: "")
    course = replace(course, epochs={1: 1, 2: 3, 3: 4})
    for name in seeds.CONTROLS:
        seeds.train_control(course, name)
        seeds.train_control(course, name, epochs=2)
    assert [(model, stage.epochs, how["augmented"]) for model, stage, how in trained] == [
        ("of stage 2", 4, False),
        ("of stage 2", 2, False),
        ("new", 7, True),
        ("new", 2, True),
    ]
    assert len({stage.folder for _, stage, _ in trained}) == 4  # whatever was trained before


def test_a_variant_keeps_which_of_the_measured_images_were_right(course, monkeypatch):
    model, images = linear_model(), noise_images()
    monkeypatch.setattr(compare, "get_model", lambda *_, **__: model)
    monkeypatch.setattr(compare, "images_for", lambda course: (images, images))
    monkeypatch.setitem(compare.PLANS, "smoke", compare.Plan(1, epochs=20, control_epochs=1))
    history, text = compare.train_variant(course, "baseline", 0)
    right = stored.unpack_right(text, len(images))
    assert right.mean() == pytest.approx(history[-1]["heldout_accuracy"])
    assert right.mean() > evaluate(model, images, course).accuracy  # that model wasn't trained
    assert compare.train_variant(course, "baseline", 0) == (history, text)  # read from disk
    assert all("heldout_right" not in entry for entry in history)


def test_stages_and_controls_keep_which_held_out_images_were_right(course, monkeypatch):
    monkeypatch.setattr(seeds, "first_model", lambda stage: linear_model())
    count = len(course.data.heldout)
    assert seeds.run_stage(course.stage(1)) is None  # a check: only training images are measured
    right = stored.unpack_right(seeds.run_stage(course.stage(2)), count)
    accuracy = read_results(course)["stages"]["2"]["final"]["heldout_plain"]
    assert right.mean() == pytest.approx(accuracy)
    control = seeds.train_control(course, "augmented from scratch", epochs=1)
    right = stored.unpack_right(control["right"], count)
    assert right.mean() == pytest.approx(control["final"]["heldout_plain"])


def test_an_image_is_right_if_its_label_is_the_most_probable_class(course):
    model, heldout = linear_model(), course.data.heldout
    likely = predict(model, heldout, course).argmax(1)
    half = likely.clone()
    half[::2] += 1
    relabelled = replace(heldout, labels=half % 80)
    course = replace(course, data=replace(course.data, heldout=relabelled))
    right = stored.unpack_right(seeds.heldout_right(model, course), len(heldout))
    assert right.tolist() == [index % 2 == 1 for index in range(len(heldout))]


def test_the_variants_are_kept_with_what_was_right_in_the_order_of_the_seeds(course, asked):
    found = compare.compare_variants(replace(course, preset="lecture"))
    assert list(found["right"]) == list(compare.VARIANTS)
    for texts in found["right"].values():
        right = stored.unpack_seeds(texts, found["measured"])
        assert right.shape == (compare.PLANS["lecture"].seeds, found["measured"])
        assert right[:, 0].all() and not right[:, 1:].any()


@given(right=st.lists(st.booleans(), min_size=1, max_size=100), other=st.integers(0, 100))
@example(right=[True] * 7, other=8)
def test_which_images_were_right_survives_packing(right, other):
    text = stored.pack_right(right)
    assert np.array_equal(stored.unpack_right(text, len(right)), right)
    if other != len(right):
        with pytest.raises(DataError, match=str(other)):
            stored.unpack_right(text, other)


def test_640_images_take_80_bytes():
    text = stored.pack_right([True] * 640)
    assert len(text.removeprefix("640:")) == 4 * -(-80 // 3)  # base64: 3 bytes in 4 letters


@pytest.mark.parametrize("text", ["7:A", "7:/w=", "7:€€€€", "7:/g==\n", "7:/w==", "7:", "/g=="])
def test_damaged_text_is_an_error(text):
    with pytest.raises(DataError):  # "/w==" is a byte of eight ones, "/g==" of seven
        stored.unpack_right(text, 7)


def test_results_of_other_settings_are_not_overwritten(course, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "CHECKOUT", tmp_path)
    stored.write_stored(course, "seeds.json", {"seeds": {"0": 1}})
    larger = course.experiment("larger", size=48)
    stored.write_stored(larger, "seeds.json", {"seeds": {"0": 2}})
    found = [content["seeds"]["0"] for content in stored.read_stored("seeds.json").values()]
    assert sorted(found) == [1, 2]
    path = stored.stored_path(course, "seeds.json")
    path.write_text(path.read_text().replace('"lr": 0.01', '"lr": 0.02'))
    with pytest.raises(SettingsError, match="lr 0.02"):
        stored.write_stored(course, "seeds.json", {"seeds": {"0": 3}})
    assert '"0": 1' in path.read_text()


def test_seeds_on_your_own_photographs_are_stored_together_and_never_over_others(
    environment, tmp_path, monkeypatch
):
    """Each seed holds out other images; only the photographs themselves say whose results it is."""
    monkeypatch.setattr(stored, "CHECKOUT", tmp_path)
    monkeypatch.setattr(results, "CHECKOUT", tmp_path)
    files = report_files(12)
    mine = write_folder(tmp_path / "a" / "pets", files)
    others = write_folder(tmp_path / "b" / "pets", files | {"train_data/0.png": png(99)})
    for seed in (0, 1):
        environment(PRESET="smoke", SEED=seed, DATA=mine)
        course = open_course()
        stored.write_stored(course, "seeds.json", {"seeds": seed})
    assert results.stored(course, "seeds.json")["seeds"] == 1
    environment(PRESET="smoke", DATA=others)
    course = open_course()
    assert results.stored(course, "seeds.json") is None
    with pytest.raises(SettingsError, match="pets"):
        stored.write_stored(course, "seeds.json", {"seeds": 2})
    environment(PRESET="smoke", DATA=mine)
    assert results.stored(open_course(), "seeds.json")["seeds"] == 1


def test_a_stored_file_names_all_sessions_that_wrote_it(course, tmp_path, monkeypatch):
    """A comparison that's interrupted may be finished on another computer."""
    monkeypatch.setattr(stored, "CHECKOUT", tmp_path)
    path = stored.stored_path(course, "seeds.json")

    def write(commit):
        monkeypatch.setattr(results, "commit", lambda: commit)
        stored.write_stored(course, "seeds.json", {"seeds": commit})
        return json.loads(path.read_text())

    write("a" * 40)
    written = write("b" * 40)
    assert written == write("b" * 40)
    assert [session["commit"] for session in written["written_by"]] == ["a" * 40, "b" * 40]
    assert "commit" not in written
    # A file of an earlier version names the last one that wrote it.
    del written["written_by"]
    path.write_text(json.dumps(written | {"commit": "0" * 40}))
    found = write("c" * 40)["written_by"]
    assert [session["commit"] for session in found] == ["0" * 40, "c" * 40]


def test_a_spread_needs_two_seeds():
    assert stored.spread([0.25]) == "25.0%"
    assert stored.spread([0.2, 0.3, 0.4]) == "30.0 ± 10.0%"


@pytest.mark.parametrize(
    ("page", "name", "table"),
    [
        ("docs/results.md", "results.json", results.table),
        ("docs/results.md", "seeds.json", lambda found: seeds.seeds_table(found["seeds"])),
        ("results/README.md", "compare.json", compare.variants_table),
    ],
)
def test_the_tables_of_results_are_those_of_the_stored_results(page, name, table):
    written = rows((CHECKOUT / page).read_text(encoding="utf-8"))
    assert stored.read_stored(name)
    for found in stored.read_stored(name).values():
        assert rows(table(found)) <= written


PERCENTAGE = re.compile(r"\d+\.\d( ± \d+\.\d)?%")  # "40.1 ± 1.4%" or "17.2%"


def stored_percentages():
    """What the pages of results may say: final accuracies, those of variants, and their means."""
    shares = []  # of one or several seeds
    stages = []
    for name in ("results.json", "recipe.json"):
        for found in stored.read_stored(name).values():
            stages += found["stages"].values()
    for found in stored.read_stored("compare.json").values():
        shares += [[share] for share in found["stage_2"].values()]
        for histories in found["runs"].values():
            shares.append([compare.late(history) for history in histories])
        stages += found.get("controls", {}).values()
    for stage in stages:
        shares += [[share] for share in stage["final"].values()]
        for entry in stage["epochs"]:
            if entry["epoch"] == 1:
                shares.append([entry["train_accuracy"]])  # the running one
            if entry["epoch"] == 10 and entry["heldout_accuracy"] is not None:
                shares.append([entry["heldout_accuracy"]])  # when the controls end
    for found in stored.read_stored("seeds.json").values():
        runs = list(found["seeds"].values())
        for name, outcome in runs[0].items():
            for measured in outcome["final"]:
                shares.append([run[name]["final"][measured] for run in runs])
    return {stored.spread(each) for each in shares}


@pytest.mark.parametrize("page", ["docs/results.md", "results/README.md"])
def test_every_percentage_on_the_pages_of_results_is_stored(page):
    text = " ".join((CHECKOUT / page).read_text(encoding="utf-8").split())
    found = {match[0] for match in PERCENTAGE.finditer(text)}
    assert len(found) > 20
    assert found <= stored_percentages()


def test_the_page_of_results_says_how_many_seeds_were_compared():
    text = " ".join((CHECKOUT / "docs/results.md").read_text(encoding="utf-8").split())
    runs = stored.read_stored("compare.json")["shapes-lecture"]["runs"]
    count = max(len(histories) for histories in runs.values())
    word = {3: "three", 4: "four", 5: "five"}[count]
    assert f"20 epochs and {word} seeds" in text


def rows(markdown):
    """The rows of all tables in a text, without the padding of their cells."""
    lines = [
        line for line in markdown.splitlines() if line.startswith("|") and set(line) - set("|- ")
    ]
    return {tuple(cell.strip() for cell in line.split("|")) for line in lines}
