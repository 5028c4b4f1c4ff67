"""`results.json` as DESIGN has it, and the table that sets it against the report."""

import json
import re
import resource

import pytest
import torch
import torchvision
from tiny import linear_model, noise_images

from course_lib import DataError, evaluate, measure, predict, read_results, record, table, train
from course_lib.bank import Bank


@pytest.fixture
def bank():
    train, heldout = noise_images(40), noise_images(12, seed=1)
    return Bank("shapes", train, heldout, heldout, train.classes, "12 labelled test images")


@pytest.fixture
def recorded(course, bank):
    """Stages 1, 2 and 3 of a tiny model, trained, measured and recorded."""
    for number in (1, 2, 3):
        model = linear_model(number)
        heldout = bank.heldout if number > 1 else None
        history = train(model, bank.train, course.stage(number), augmented=number == 3, heldout=heldout)
        final = measure(model, bank, course)
        if number == 1:  # the notebook measures stage 1 on its five batches only
            final = {"train_plain": final["train_plain"]}
        results = record(course, bank, number, history, final)
    return results


def test_it_has_what_the_design_says(course, bank, recorded):
    results = json.loads((course.folder / "results.json").read_text(encoding="utf-8"))
    assert results == json.loads(json.dumps(recorded)) == read_results(course)
    data = results["data"]
    assert (data["name"], data["classes"], data["train"], data["heldout"]) == ("shapes", 80, 40, 12)
    assert (results["preset"], results["seed"], results["precision"]) == ("smoke", 0, "fp32")
    assert results["settings"]["lr"] == 0.01 and results["settings"]["size"] == 32
    assert results["versions"]["torch"] == torch.__version__
    assert results["versions"]["torchvision"] == torchvision.__version__ and results["versions"]["python"]
    assert results["device"].startswith("cpu")
    assert results["commit"] is None or re.fullmatch("[0-9a-f]{40}", results["commit"])
    assert list(results["stages"]) == ["1", "2", "3"]
    for number, stage in results["stages"].items():
        assert [entry["epoch"] for entry in stage["epochs"]] == [1, 2][: 2 if number == "1" else 1]
        for entry in stage["epochs"]:
            assert {"epoch", "loss", "train_accuracy", "heldout_accuracy", "seconds", "images_per_second"} == set(entry)
            assert entry["images_per_second"] > 0 and 0 <= entry["train_accuracy"] <= 1
            assert (entry["heldout_accuracy"] is None) == (number == "1")
        if number != "1":
            assert set(stage["final"]) == {"train_plain", "train_augmented", "heldout_plain"}
        assert all(0 <= accuracy <= 1 for accuracy in stage["final"].values())
        assert set(stage["measured_on"]) == set(stage["final"])


def test_the_final_figures_are_measured_in_eval_mode_on_what_they_say(course, bank):
    model = linear_model()
    bank.train.labels[:] = predict(model, bank.train, course).argmax(1)  # right where nothing is changed
    final = measure(model, bank, course)
    stage = record(course, bank, 2, [], final)["stages"]["2"]
    for name, images, augmented, words in [
        ("train_plain", bank.train, False, "40 training images, plain, eval mode"),
        ("train_augmented", bank.train, True, "40 training images, augmented, eval mode"),
        ("heldout_plain", bank.heldout, False, f"12 held-out images ({bank.split}), plain, eval mode"),
    ]:
        assert stage["final"][name] == evaluate(model, images, course, augmented).accuracy
        assert stage["measured_on"][name] == words
    assert stage["final"]["train_augmented"] < stage["final"]["train_plain"] == 1


def test_nothing_in_it_names_the_machine(course, recorded):
    text = (course.folder / "results.json").read_text(encoding="utf-8")
    assert str(course.home) not in text and str(course.home.parent) not in text


def test_a_stage_recorded_again_replaces_only_itself(course, bank, recorded):
    again = record(course, bank, 2, [], measure(linear_model(9), bank, course))
    assert again["stages"]["2"]["epochs"] == []
    for number in ("1", "3"):
        assert again["stages"][number] == recorded["stages"][number]


def test_without_results_there_are_none(course):
    assert read_results(course)["stages"] == {}


@pytest.mark.parametrize(
    "text", [b"", b"{", b'{"stages"', b"[]", b"{}", b"null", b'{"stages": 3}', b"\xff", b"[" * 10**5]
)
def test_damaged_results_are_said_and_not_overwritten(course, bank, text):
    course.folder.mkdir(parents=True)
    path = course.folder / "results.json"
    path.write_bytes(text)
    for call in (lambda: read_results(course), lambda: record(course, bank, 1, [], {})):
        with pytest.raises(DataError, match="results.json is damaged .*Delete it"):
            call()
    assert path.read_bytes() == text


def test_any_half_of_it_is_noticed(course, recorded):
    path = course.folder / "results.json"
    whole = path.read_bytes()
    for length in range(0, len(whole) - 2, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match="damaged"):
            read_results(course)


def test_a_full_disk_is_said_and_keeps_the_results_of_before(course, bank, recorded):
    path = course.folder / "results.json"
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(DataError, match="results.json cannot be written"):
            record(course, bank, 2, [], {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert not list(course.folder.glob(".*"))  # nothing half-written is left


def test_the_table_says_what_was_measured_on_what_beside_the_reports_numbers():
    def stage(epochs, planned, **final):
        on = {"train_plain": "training images, plain", "train_augmented": "training images, augmented"}
        measured_on = {name: f"1,280 {on.get(name, 'held-out images, plain')}, eval mode" for name in final}
        return {"epochs": [{}] * epochs, "planned": planned, "final": final, "measured_on": measured_on}

    stages = {
        "3": stage(12, 50, train_plain=0.95, train_augmented=0.85, heldout_plain=0.6),
        "1": stage(20, 20, train_plain=1.0),
        "2": stage(30, 30, train_plain=0.9981, train_augmented=0.5, heldout_plain=0.4),
    }
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table({"stages": stages}).splitlines()]
    assert rows[0] == ["stage", "report", "this run", "measured on"] and set("".join(rows[1])) == {"-"}
    plain, augmented, heldout = (
        f"1,280 {images}, eval mode"
        for images in ("training images, plain", "training images, augmented", "held-out images, plain")
    )
    assert rows[2:] == [
        ["1, 20 epochs", "overfits", "100.0%", plain],
        ["2, 30 epochs", "100 %", "99.8%", plain],
        ["2, 30 epochs", "50 %", "50.0%", augmented],
        ["2, 30 epochs", "–", "40.0%", heldout],
        ["3, 12 epochs of 50", "–", "95.0%", plain],
        ["3, 12 epochs of 50", "85 %", "85.0%", augmented],
        ["3, 12 epochs of 50", "–", "60.0%", heldout],
    ]
    assert len({len(line) for line in table({"stages": stages}).splitlines()}) == 1  # aligned as plain text
    assert table({"stages": {}}).count("\n") == 1
