"""Sweeps and recipes: every run is what it's called, and what's stored can be judged."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny import conv_model, noise_images

from course_lib import plain_block, res_block, training_batches
from course_lib.experiment import Course
from experiments import copies, recipes, sweeps
from experiments.stored import unpack_right


@pytest.fixture
def asked(monkeypatch):
    """What `trial` is asked for in sweeps and recipes; it answers at once."""
    asked = []

    def trial(course, images, **options):
        asked.append(options | {"images": len(images)})
        right = [True] * len(options["heldout"]) if options.get("heldout") else None
        entry = {"epoch": 1, "loss": 1.0, "heldout_accuracy": 1.0, "heldout_right": right}
        return [entry] * options["epochs"]

    for module in (sweeps, recipes):
        monkeypatch.setattr(module, "trial", trial)
    return asked


def test_batch_sizes_are_compared_after_equally_many_steps(course, asked):
    runs = sweeps.five_batches(course, seed=3)
    steps = {}
    for name, options in zip(runs, asked):
        assert options["images"] == 160 and options["seed"] == 3
        if "batch_size" in options:
            steps[name] = options["epochs"] * math.ceil(160 / options["batch_size"])
    assert steps == {"batches of 16": 100, "batches of 32": 100, "batches of 64": 99}


@pytest.mark.parametrize("images", [18, 65, 100, 160])
@pytest.mark.parametrize("size", [16, 32, 64])
def test_steps_are_counted_as_training_takes_them(course, images, size):
    """100 images in batches of 32: three steps, since the last four images join the third."""
    settings = course.settings.with_changes(batch_size=size)
    stage = replace(course, settings=settings).stage(2)
    batches = list(training_batches(noise_images(images), stage, epoch=1, augmented=False))
    assert sweeps.steps_per_epoch(images, size) == len(batches)


@pytest.mark.parametrize("count, channels", [(2, 128), (3, 256), (4, 512)])
def test_the_first_groups_have_the_networks_weights_and_answer_the_classes(course, count, channels):
    cut = sweeps.first_groups(course, count, seed=1)
    whole = course.new_model(seed=1)
    assert torch.equal(cut[0][0].weight, whole.conv1[0].weight)
    assert cut[-1].in_features == channels
    assert cut.eval()(torch.zeros(2, 3, 32, 32)).shape == (2, 80)


def test_gradients_grow_on_their_way_to_the_image_only_without_the_shortcut(course):
    """Claim B's reason; each layer is compared with others of its kind."""
    growth = {}
    for block in (res_block, plain_block):
        kinds = sweeps.relative_gradients(course, block)
        assert sorted(len(values) for values in kinds.values()) == [13, 13, 13]
        growth[block] = np.mean([values[0] / values[-1] for values in kinds.values()])
    assert growth[plain_block] > 3 * growth[res_block]


@pytest.mark.slow
def test_all_sweeps_are_stored_seed_by_seed(course, asked, monkeypatch):
    monkeypatch.setattr(sweeps, "trained_model", lambda course, stage: course.new_model())
    monkeypatch.setattr(sweeps, "SEEDS", 2)
    kept = []
    found = sweeps.run_all(course, lambda so_far: kept.append(so_far))
    assert kept and list(found["shortcut"]) == ["0.01", "0.003", "0.001"]
    assert [len(runs) for runs in found["shortcut"].values()] == [3, 1, 1]
    assert {len(runs) for runs in found["five_batches"].values()} == {2}
    assert {len(of_areas) for of_areas in found["crops"].values()} == {len(sweeps.CROP_AREAS)}


def test_a_part_of_an_image_is_the_part_that_it_says(course):
    images = course.data.heldout.subset([0, 1])
    whole = sweeps.cropped(images, 1.0, 0.5, 0.5)
    assert torch.equal(whole.batch([0, 1]), images.batch([0, 1]))
    quarter = sweeps.cropped(images, 0.25, 1, 0).batch([0, 1]).float()
    expected = images.batch([0, 1])[:, :16, 16:].float()  # the upper right of 32 × 32
    assert (quarter[:, ::2, ::2] - expected).abs().mean() < 16
    assert (quarter.mean((1, 2)) - expected.mean((1, 2))).abs().max() < 2


def test_the_halves_have_half_of_each_class(course):
    to_choose, final = recipes.halves(course.data.heldout)
    assert (to_choose != final).all()
    labels = course.data.heldout.labels.numpy()
    differences = np.bincount(labels[to_choose], minlength=80) - np.bincount(
        labels[final], minlength=80
    )
    assert set(differences.tolist()) <= {0, 1}


def test_copies_of_a_picture_are_never_on_both_sides():
    images = noise_images(60)
    images.pixels[30:] = images.pixels[:30]
    images.labels[30:] = images.labels[:30]
    to_choose, final = recipes.halves(images)
    assert (to_choose[:30] == to_choose[30:]).all() and to_choose.any() and final.any()
    trained = images.subset(range(10))
    rest = copies.without_copies(images.subset(range(10, 60)), of=trained)
    assert rest.names == [f"{i}.png" for i in [*range(10, 30), *range(40, 60)]]
    assert copies.without_copies(rest, of=trained) is rest


def test_two_stages_share_the_epochs_and_resume(course, monkeypatch):
    monkeypatch.setattr(Course, "new_model", lambda course, seed=None: conv_model(seed))
    history, right = recipes.train_two_stages(course, epochs=4, seed=5)
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4]
    again = recipes.train_two_stages(course, epochs=4, seed=5)
    assert again == (history, right)
    shares = unpack_right(right, len(course.data.heldout))
    assert shares.mean() == pytest.approx(history[-1]["heldout_accuracy"])


def test_another_split_of_the_epochs_is_another_training(course, monkeypatch):
    """Or a stage 2 that was trained for longer would be part of a smaller budget."""
    monkeypatch.setattr(Course, "new_model", lambda course, seed=None: conv_model(seed))
    recipes.train_two_stages(replace(course, epochs={1: 1, 2: 3, 3: 1}), epochs=4, seed=0)
    equal = replace(course, epochs={1: 1, 2: 1, 3: 1})
    history, _ = recipes.train_two_stages(equal, epochs=4, seed=0)
    assert [entry["epoch"] for entry in history] == [1, 2, 3, 4]


def test_every_recipe_has_every_budget_and_seed(course, asked, monkeypatch):
    monkeypatch.setattr(recipes, "SEEDS", 2)
    monkeypatch.setattr(recipes, "BUDGETS", (1, 2))
    monkeypatch.setattr(Course, "new_model", lambda course, seed=None: conv_model(seed))
    found = recipes.run_all(course, lambda so_far: None)
    assert set(found["runs"]) == {recipes.REPORTS, *recipes.RECIPES}
    for of_budgets in found["right"].values():
        assert {epochs: len(texts) for epochs, texts in of_budgets.items()} == {"1": 2, "2": 2}
    assert len(asked) == 2 * 2 * len(recipes.RECIPES)
