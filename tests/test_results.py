"""`results.json`, the table that sets it against the report, and trials that are measured once."""

import hashlib
import json
import re
import shutil
import subprocess
from contextlib import suppress
from dataclasses import asdict, replace

import pytest
import torch
import torchvision
from faults import Death, Died, watched
from tiny import (
    at_step,
    conv_model,
    crash,
    elsewhere,
    linear_model,
    noise_images,
    press_stop,
    same_weights,
)

from course_lib import (
    CheckpointError,
    Stopped,
    evaluate,
    fingerprints,
    loops,
    measure,
    open_course,
    predict,
    read_results,
    record,
    stored,
    table,
    train,
    trained_model,
    trial,
    trials,
)
from course_lib import results as results_module
from course_lib.device import Precision
from course_lib.errors import say_once
from course_lib.experiment import Course
from course_lib.storage import checkpoints
from course_lib.storage.files import read_sealed, write_sealed, write_text
from course_lib.storage.weights import load_weights
from tools.adopt import adopt_model

COMMIT = "[0-9a-f]{40}(, edited)?"
FINAL = ["train_plain", "train_augmented", "heldout_plain"]


@pytest.fixture
def course(course):
    """Tiny models and images in place of the report's, and two epochs of stage 1."""
    train, heldout = noise_images(40), noise_images(12, seed=1)
    data = replace(
        course.data,
        train=train,
        validation=heldout,
        heldout=heldout,
        test=heldout,
        split="12 of noise",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Course, "new_model", lambda course: conv_model())
        yield replace(course, data=data, epochs=course.epochs | {1: 2})


def train_and_record(course, number):
    """As in the notebooks: train or load the stage, measure its model, record that."""
    start = [linear_model, conv_model, lambda: trained_model(course, 2)][number - 1]()
    few = loops.few_heldout(course) if number > 1 else None
    stage = course.stage(number)
    history = train(start, stage.images, stage, augmented=number == 3, heldout=few)
    if number == 1:
        final = {"train_plain": evaluate(start, stage.images, course)}
    else:
        final = measure(start, course)
    return record(stage, start, history, final)


@pytest.fixture
def recorded(course):
    return [train_and_record(course, number) for number in (1, 2, 3)][-1]


def test_it_has_what_it_should(course, recorded):
    results = json.loads((course.folder / "results.json").read_text(encoding="utf-8"))
    assert (
        results == json.loads(json.dumps(recorded)) == json.loads(json.dumps(read_results(course)))
    )
    assert results["data"] == {
        "name": "shapes",
        "train": 40,
        "heldout": 12,
        "split": "12 of noise",
        "digest": course.data.digest,
    }
    assert (results["preset"], results["seed"]) == ("smoke", 0)
    assert results["settings"] == json.loads(json.dumps(asdict(course.settings)))
    for measured in (results, *(stage["measured_with"] for stage in results["stages"].values())):
        assert measured["precision"] == "fp32" and measured["device"].startswith("cpu")
        assert measured["versions"]["torch"] == torch.__version__
        assert measured["versions"]["torchvision"] == torchvision.__version__
        assert measured["versions"]["python"]
        assert measured["commit"] is None or re.fullmatch(COMMIT, measured["commit"])
    assert list(results["stages"]) == ["1", "2", "3"]
    for number, stage in results["stages"].items():
        assert [entry["epoch"] for entry in stage["epochs"]] == [1, 2][: 2 if number == "1" else 1]
        for entry in stage["epochs"]:
            assert {
                "epoch",
                "loss",
                "train_accuracy",
                "heldout_loss",
                "heldout_accuracy",
                "seconds",
                "images_per_second",
                "threads",
            } == set(entry)
            assert (entry["heldout_accuracy"] is None) == (number == "1")
        assert (
            list(stage["final"])
            == list(stage["measured_on"])
            == (FINAL[:1] if number == "1" else FINAL)
        )
        assert all(0 <= accuracy <= 1 for accuracy in stage["final"].values())
    assert results["stages"]["3"]["starts_from"] == results["stages"]["2"]["model"]


def test_the_final_figures_are_measured_in_eval_mode_on_what_they_say(course):
    model, data = linear_model(), course.data
    data.train.labels[:] = predict(model, data.train, course).argmax(
        1
    )  # right where nothing is changed
    frozen = replace(course, epochs={2: 0}).stage(2)
    stage = record(
        frozen, model, train(model, data.train, frozen, augmented=False), measure(model, course)
    )
    stage = stage["stages"]["2"]
    for name, images, augmented, words in [
        ("train_plain", data.train, False, ["40", "training", "plain", "eval"]),
        ("train_augmented", data.train, True, ["40", "training", "augmented", "eval"]),
        ("heldout_plain", data.heldout, False, ["12", "held-out", data.split, "plain", "eval"]),
    ]:
        assert stage["final"][name] == evaluate(model, images, course, augmented).accuracy
        assert all(word in stage["measured_on"][name] for word in words)
    assert stage["final"]["train_augmented"] < stage["final"]["train_plain"] == 1


def test_nothing_that_a_run_stores_names_the_machine(course, recorded):
    trial(course, noise_images(), epochs=1, model=linear_model())
    files = [path for path in course.folder.rglob("*") if path.is_file()]
    assert len(files) > 8
    for path in files:
        assert str(course.home.parent).encode() not in path.read_bytes(), path.name


def test_a_stage_recorded_again_replaces_only_itself(course, recorded):
    course.stage(1).start_over()
    assert list(read_results(course)["stages"]) == ["2", "3"]
    again = train_and_record(course, 1)
    assert list(again["stages"]["1"]["final"]) == FINAL[:1]
    for number in ("2", "3"):
        assert again["stages"][number] == recorded["stages"][number]


def in_another_session(course, monkeypatch):
    """The same course on another computer, with other versions and another commit."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(torchvision, "__version__", "0.99")
    monkeypatch.setattr(results_module, "commit", lambda: "c" * 40)
    return replace(course, precision=Precision("bf16", "cpu"))


SESSION = ("device", "threads", "precision", "versions", "commit")


def test_results_say_what_measured_them_not_what_exports_them(course, monkeypatch):
    before = train_and_record(course, 1)
    later = in_another_session(course, monkeypatch)
    assert read_results(later) == before
    course.stage(1).measured_path.unlink()
    assert not set(SESSION) & set(read_results(later))  # nothing was measured


def test_each_stage_says_what_measured_it(course, monkeypatch):
    first = train_and_record(course, 1)["stages"]["1"]
    with monkeypatch.context() as patch:
        patch.setattr(results_module, "commit", lambda: "c" * 40)
        patch.setattr(torchvision, "__version__", "0.99")
        both = train_and_record(course, 2)
    assert both["stages"]["1"] == first
    second = both["stages"]["2"]["measured_with"]
    assert second["commit"] == "c" * 40 and second["versions"]["torchvision"] == "0.99"
    # The top level holds only what both stages have in common.
    assert both["precision"] == "fp32" and "commit" not in both and "versions" not in both


def test_a_stage_measured_by_an_earlier_version_is_read_still(course):
    train_and_record(course, 1)
    path = course.stage(1).measured_path
    measured = read_sealed(path)
    del measured["measured_with"]
    write_sealed(path, measured)
    found = read_results(course)
    assert list(found["stages"]) == ["1"] and not set(SESSION) & set(found)


def git(folder, *command):
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    done = subprocess.run(["git", *identity, *command], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


def test_the_commit_is_that_of_the_code_that_ran(tmp_path, monkeypatch):
    """Not of a repository around it; and an edit of the library is no part of any commit."""
    checkout = tmp_path / "course"
    code = checkout / "course_lib" / "loops.py"
    write_text(code, "as committed")
    monkeypatch.setattr(results_module, "CHECKOUT", checkout)
    assert results_module.commit() is None
    for folder in (tmp_path, checkout):
        git(folder, "init")
        git(folder, "add", ".")
        git(folder, "commit", "-m", folder.name)
        head = git(folder, "rev-parse", "HEAD")
        assert results_module.commit() == (head if folder == checkout else None)
    write_text(checkout / "notes.txt", "not code")
    assert results_module.commit() == head
    write_text(code, "edited")
    assert results_module.commit() == f"{head}, edited"
    git(checkout, "commit", "--all", "-m", "the edit")
    assert results_module.commit() == git(checkout, "rev-parse", "HEAD")
    write_text(code.with_name("new.py"), "")
    assert "edited" in results_module.commit()


def test_a_stored_run_is_compared_with_only_on_the_same_held_out_images(
    environment, tmp_path, monkeypatch
):
    monkeypatch.setattr(results_module, "CHECKOUT", tmp_path)
    environment(PRESET="smoke", SEED=0)
    course = open_course()
    path = tmp_path / "results" / "shapes-smoke" / "results.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(read_results(course)))
    assert stored(course) is not None
    assert stored(course, same_heldout=True) == stored(course)
    other_split = replace(course, data=replace(course.data, split="half of them"))
    environment(PRESET="smoke", SEED=3)
    for other in (open_course(), other_split):
        assert stored(other) == stored(course)
        assert stored(other, same_heldout=True) is None


def test_a_stage_3_that_started_from_an_earlier_stage_2_is_left_out(course, recorded, capsys):
    further = replace(course, epochs=course.epochs | {2: 3})
    capsys.readouterr()
    assert (
        list(train_and_record(further, 2)["stages"])
        == list(read_results(further)["stages"])
        == ["1", "2"]
    )
    assert "course.stage(3).start_over()" in capsys.readouterr().out
    further.stage(3).start_over()
    assert list(train_and_record(further, 3)["stages"]) == ["1", "2", "3"]


def test_a_stage_2_trained_further_but_not_measured_is_left_out_and_a_new_stage_3_is_not(
    course, recorded
):
    further = replace(course, epochs=course.epochs | {2: 3})
    further.stage(3).start_over()  # and stage 2 is trained further as stage 3 is begun anew
    assert list(train_and_record(further, 3)["stages"]) == ["1", "3"]
    assert list(train_and_record(further, 2)["stages"]) == ["1", "2", "3"]


def test_only_a_stages_finished_model_is_recorded(course, recorded):
    def refused(stage, model):
        with pytest.raises(CheckpointError, match=f"stage {stage.number}"):
            record(stage, model, recorded["stages"]["2"]["epochs"], {})

    refused(course.stage(2), linear_model())
    refused(course.stage(2), trained_model(course, 3))
    further, model = (
        replace(course, epochs=course.epochs | {2: 2}).stage(2),
        at_step(conv_model(), 1, press_stop),
    )
    with pytest.raises(Stopped):
        train(model, course.data.train, further, augmented=False)
    refused(further, model)
    assert list(read_results(course)["stages"]) == ["1", "3"]  # stage 2 has been trained since


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_stage_that_was_not_trained_as_its_name_says_is_not_recorded(course, number):
    stage = course.stage(number)
    few = stage.images.subset(range(7))
    images = stage.images
    others = replace(images, pixels=255 - images.pixels)  # of the same names, as of another seed
    usual = stage.spec.augmented
    for images, augmented, named in [
        (few, usual, "images"),
        (others, usual, "pixels"),
        (stage.images, not usual, "augmented"),
    ]:
        model = conv_model()
        history = train(model, images, stage, augmented=augmented)
        with pytest.raises(CheckpointError, match=f"tage {number}.*{named}"):
            record(stage, model, history, {})
        stage.start_over()


def test_a_stage_3_that_began_with_a_new_model_is_called_so(course, recorded):
    assert "not from stage 2" not in table(recorded)
    alone = elsewhere(course)
    model = conv_model()
    history = train(model, alone.data.train, alone.stage(3), augmented=True)
    found = record(alone.stage(3), model, history, measure(model, alone))
    assert "3 (not from stage 2)" in table(found)


def test_a_stage_3_recorded_again_still_started_from_the_stage_2_it_came_from(course, recorded):
    model, further = trained_model(course, 3), replace(course, epochs=course.epochs | {2: 2})
    train_and_record(further, 2)
    assert list(
        record(further.stage(3), model, recorded["stages"]["3"]["epochs"], {})["stages"]
    ) == ["1", "2"]


def test_a_stage_that_starts_over_is_no_longer_in_it(course, recorded):
    course.stage(2).start_over()
    assert list(read_results(course)["stages"]) == ["1", "3"]
    course.start_over()
    assert read_results(course)["stages"] == {}


def test_the_table_says_what_was_measured_on_what_beside_the_reports_numbers():
    def stage(epochs, **final):
        on = {
            "train_plain": "training images, plain",
            "train_augmented": "training images, augmented",
        }
        measured_on = {name: f"1,280 {on.get(name, 'held-out images, plain')}" for name in final}
        return {"epochs": [{}] * epochs, "final": final, "measured_on": measured_on}

    stages = {
        "3": stage(12, train_plain=0.95, train_augmented=0.85, heldout_plain=0.6),
        "1": stage(20, train_plain=1.0),
        "2": stage(30, train_plain=0.9981, train_augmented=0.5, heldout_plain=0.4),
    }
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in table({"stages": stages}).splitlines()
    ]
    assert len(rows[0]) == 4 and set("".join(rows[1])) == {"-"}
    plain, augmented = "1,280 training images, plain", "1,280 training images, augmented"
    heldout = "1,280 held-out images, plain"
    assert rows[2:] == [
        ["1, 20 epochs", "overfits", "100.0%", plain],
        ["2, 30 epochs", "100%", "99.8%", plain],
        ["2, 30 epochs", "50%", "50.0%", augmented],
        ["2, 30 epochs", "–", "40.0%", heldout],
        ["3, 12 epochs", "–", "95.0%", plain],
        ["3, 12 epochs", "85%", "85.0%", augmented],
        ["3, 12 epochs", "–", "60.0%", heldout],
    ]
    assert (
        len({len(line) for line in table({"stages": stages}).splitlines()}) == 1
    )  # aligned as plain text
    assert table({"stages": {}}).count("\n") == 1
    assert "| 3" not in table({"stages": stages}, last_stage=2)


# --- Trials


def trials_in(course):
    return {path.name: path.read_bytes() for path in (course.folder / "trials").glob("*")}


def attempt(course, images=None, model=None, epochs=2, **changes):
    """A trial of a tiny model, and whether it was measured rather than read."""
    before, model = trials_in(course), model or linear_model()
    history = trial(course, images or noise_images(), epochs=epochs, model=model, **changes)
    assert len(history) == epochs
    return history, trials_in(course) != before


def test_a_trial_is_measured_once_with_the_settings_it_names(course):
    history, measured = attempt(course, lr=0.1, batch_size=4)
    assert measured and attempt(course, lr=0.1, batch_size=4) == (history, False)
    stage = elsewhere(course, epochs=2, lr=0.1, batch_size=4).stage(1)
    expected = train(linear_model(), noise_images(), stage, augmented=False)
    assert [entry["loss"] for entry in history] == [entry["loss"] for entry in expected]
    assert {path.name for path in course.folder.iterdir()} == {"run.json", "trials"}  # no weights


def other_labels(images):
    return replace(images, labels=images.labels.roll(1))


@pytest.mark.parametrize(
    "other",
    [
        {"lr": 0.1},
        {"momentum": 0.5},
        {"batch_size": 4},
        {"seed": 1},
        {"epochs": 1},
        {"precision": "bf16"},
        {"images": noise_images(19)},
        {"images": other_labels(noise_images())},
        {"model": linear_model(1)},
        {"model": conv_model()},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_trial_of_anything_else_is_measured_anew(course, other):
    attempt(course)
    if isinstance(other.get("model"), torch.nn.Module):
        other = other | {"model": type(other["model"])(*other["model"])}
    assert attempt(course, **other)[1]
    assert len(trials_in(course)) == 2
    assert not attempt(course)[1]


def test_a_trial_of_several_processes_is_another_one(course, monkeypatch):
    """Batch norm sees each process's share of a batch."""
    attempt(course)
    with monkeypatch.context() as patch:
        patch.setattr(trials, "ranks", lambda: 2)
        assert attempt(course)[1]
    assert not attempt(course)[1]


@pytest.mark.parametrize("overlap", [0, 3])
def test_a_trial_that_is_measured_on_what_it_trains_on_says_so(course, overlap, capsys):
    images = noise_images()
    others = replace(noise_images(8, seed=1), names=images.names[:8])
    some = others if overlap == 0 else images.subset([*range(overlap)])
    for _ in range(2):  # the second time, it's read from its file
        say_once.cache_clear()
        trial(course, images, epochs=1, model=linear_model(), heldout=some)
        assert (f"{overlap} of {overlap}" in capsys.readouterr().out) == (overlap > 0)


def test_a_trial_that_is_not_stopped_writes_no_weights(course, monkeypatch):
    monkeypatch.setattr(checkpoints, "write_bytes", lambda *arguments: crash())
    attempt(course)


def test_a_trial_on_other_pixels_under_the_same_names_is_measured_anew(course):
    attempt(course)
    assert attempt(replace(course, data=replace(course.data, digest="of other bytes")))[1]


def test_a_stopped_trial_is_not_stored_and_the_same_call_continues_it(course, monkeypatch):
    whole = trial(
        course, noise_images(), epochs=3, model=conv_model(), heldout=noise_images(8, seed=1)
    )
    shutil.rmtree(course.folder / "trials")
    steps = []
    usual_step = torch.optim.SGD.step

    def stop_in_the_second_step(optimizer):
        steps.append(optimizer)
        if len(steps) == 2:
            press_stop()
        return usual_step(optimizer)

    monkeypatch.setattr(torch.optim.SGD, "step", stop_in_the_second_step)
    model = conv_model()
    with pytest.raises(Stopped):
        trial(course, noise_images(), epochs=3, model=model, heldout=noise_images(8, seed=1))
    assert not trials_in(course)
    again = trial(course, noise_images(), epochs=3, model=model, heldout=noise_images(8, seed=1))
    assert [entry["loss"] for entry in again] == [entry["loss"] for entry in whole]
    assert len(steps) == 3
    left = [path for path in (course.home / "unfinished-trials").rglob("*") if path.is_file()]
    assert not left


def test_a_trial_is_not_kept_if_nobody_can_tell_whether_the_network_is_the_same(course, capsys):
    numbers = (number for number in range(9))
    histories = []
    for _ in range(2):
        model = conv_model()
        model.scale = lambda x: x * next(numbers)
        histories.append(trial(course, noise_images(), epochs=1, model=model))
    assert histories[0][0]["loss"] == histories[1][0]["loss"]
    assert not trials_in(course)
    assert not list((course.home / "unfinished-trials").rglob("*.pt"))
    assert capsys.readouterr().out.count("generator") == 1


def test_a_trial_of_code_that_was_edited_in_this_session_is_not_kept(course, monkeypatch, tmp_path):
    """IPython's autoreload may have imported it again: then it's no longer what trained before."""
    usual = attempt(course)
    library = tmp_path / "course_lib"
    shutil.copytree(fingerprints.LIBRARY, library)
    with monkeypatch.context() as patch:
        patch.setattr(fingerprints, "LIBRARY", library)
        assert attempt(course) == (usual[0], False)
        loops = library / "loops.py"
        edited = loops.read_text(encoding="utf-8").replace("return settings.lr\n", "return 0.5\n")
        loops.write_text(edited, encoding="utf-8")
        assert attempt(course, lr=0.1)[1] is False  # so nothing is stored
    assert attempt(course) == (usual[0], False)


def test_without_a_model_it_is_the_reports_with_the_runs_seed(course, monkeypatch):
    seeds = []

    def new_model(course):
        seeds.append(course.settings.seed)
        return linear_model(course.settings.seed)

    # A context, because the fixture has replaced the same method and is undone first.
    with monkeypatch.context() as patch:
        patch.setattr(Course, "new_model", new_model)
        trial(replace(course, settings=replace(course.settings, seed=5)), noise_images(), epochs=1)
        assert seeds == [5]
        trial(course, noise_images(), epochs=1, seed=6)
        assert seeds == [5, 6]
        patch.setattr("course_lib.trials.train", lambda *_, **__: crash())
        trial(replace(course, settings=replace(course.settings, seed=5)), noise_images(), epochs=1)


def test_a_trial_of_other_code_is_measured_anew(course, monkeypatch):
    def with_forward(forward):
        model = type("Other", (torch.nn.Sequential,), {"forward": forward})(*linear_model())
        model.load_state_dict(linear_model().state_dict())
        return model

    def half(self, x):
        return torch.nn.Sequential.forward(self, x) * 0.5

    def half_with_a_docstring(self, x):
        """It computes the same."""
        return torch.nn.Sequential.forward(self, x) * 0.5

    def a_tenth(self, x):
        return torch.nn.Sequential.forward(self, x) * 0.1

    attempt(course)
    measured = [
        attempt(course, model=with_forward(forward))[1]
        for forward in (half, half_with_a_docstring, a_tenth)
    ]
    assert measured == [True, False, True]
    monkeypatch.setattr("course_lib.trials.training_code_digest", lambda: "other code")
    assert attempt(course)[1] and not attempt(course)[1]


def test_a_model_from_elsewhere_is_adopted_as_the_finished_stage_2(course, tmp_path):
    """The report's author has just that: a `model.pth`, and perhaps the log of its epochs."""
    path, weights = tmp_path / "model.pth", conv_model(seed=7).state_dict()
    torch.save(weights, path)
    history = [{"epoch": 1, "loss": 0.1, "train_accuracy": 0.9, "heldout_accuracy": None}]
    with pytest.raises(CheckpointError, match="no such file"):
        adopt_model(course, tmp_path / "no such file")
    assert course.stage(2).state is None
    adopt_model(course, path, history)
    model = trained_model(course, 2)  # nothing is trained
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    measured = record(course.stage(2), model, history, {})["stages"]["2"]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert "model.pth" in measured["origin"] and digest[:16] in measured["origin"]
    assert measured["epochs"] == history
    course.stage(2).start_over()
    adopt_model(course, path)  # without a history, there's nothing to draw
    assert (
        train(
            trained_model(course, 2),
            course.data.train,
            course.stage(2),
            augmented=False,
            live=crash,
        )
        == []
    )
    with pytest.raises(CheckpointError, match="start_over"):
        adopt_model(course, path)


def test_a_stage_3_from_elsewhere_belongs_to_the_stage_2_it_started_from(course, tmp_path):
    """Both stages of a finished experiment can be taken in, and evaluated here."""
    torch.save(conv_model(seed=7).state_dict(), tmp_path / "two.pth")
    torch.save(conv_model(seed=8).state_dict(), tmp_path / "three.pth")
    with pytest.raises(
        CheckpointError, match="stage 2"
    ):  # rather than train one that it never started from
        adopt_model(course, tmp_path / "three.pth", stage_number=3)
    adopt_model(course, tmp_path / "two.pth")
    adopt_model(course, tmp_path / "three.pth", stage_number=3)
    record(course.stage(2), trained_model(course, 2), [], {})
    stages = record(course.stage(3), model := trained_model(course, 3), [], {})[
        "stages"
    ]  # nothing is trained
    assert all(
        torch.equal(value, conv_model(seed=8).state_dict()[name])
        for name, value in model.state_dict().items()
    )
    assert (
        stages["3"]["starts_from"] == stages["2"]["model"] and "three.pth" in stages["3"]["origin"]
    )
    course.stage(2).start_over()
    adopt_model(course, tmp_path / "three.pth")  # as another stage 2
    assert "3" not in record(course.stage(2), trained_model(course, 2), [], {})["stages"]


def test_a_model_from_elsewhere_is_adopted_into_a_run_with_a_schedule(course, tmp_path):
    """It's taken as the outcome of all epochs that the stage is scheduled for."""
    course = elsewhere(course, epochs=3, schedule="one-cycle")
    torch.save(conv_model(seed=7).state_dict(), tmp_path / "two.pth")
    adopt_model(course, tmp_path / "two.pth")
    assert same_weights(trained_model(course, 2), conv_model(seed=7))


@pytest.mark.parametrize("operation", range(1, 17))
def test_an_adoption_that_is_cut_short_leaves_a_stage_that_has_not_begun(
    course, tmp_path, operation
):
    """It can be trained, or another model can be adopted: the first one's weights don't survive
    under its name."""
    for seed in (7, 8):
        torch.save(conv_model(seed).state_dict(), tmp_path / f"{seed}.pth")
    with watched(course.folder, Death(operation)), suppress(Died):
        adopt_model(course, tmp_path / "7.pth")
    stage = course.stage(2)
    if stage.state == "finished":
        expected = conv_model(seed=7)
    elif operation % 2:
        expected = trained_model(elsewhere(course), 2)
    else:
        adopt_model(course, tmp_path / "8.pth")
        expected = conv_model(seed=8)
    assert same_weights(trained_model(course, 2), expected)
    found = course.new_model()
    load_weights(found, stage.model_path)
    assert same_weights(found, expected)
