"""The live curve, the explorers, driven through their widgets' values as a browser would, and the
diagrams."""

import base64
import io
import re
from dataclasses import replace

import pytest
import torch
from IPython.display import Javascript
from PIL import Image
from tiny import BATCH, conv_model, noise_images, same_weights

from course_lib import (
    MyModel,
    browse_augmentation,
    browse_classes,
    browse_predictions,
    draw_block,
    draw_model,
    explore,
    get_model,
    live_curve,
    res_block,
    train,
)
from course_lib.plots import Picture
from course_lib.run import EpochLines

TRAINING, HELDOUT = "training images (running average of the epoch)", "held-out images (plain)"


# --- The live curve
# -------------------------------------------------------------------------------------------------


@pytest.fixture
def shown(monkeypatch):
    """What a notebook would be given to show: [(figure, was it put in place of the one before?),
    …]."""
    shown = []

    class Handle:
        def update(self, figure):
            shown.append((figure, True))

    def display(thing, display_id=None):
        shown.append((thing, False))
        return Handle() if display_id else None

    monkeypatch.setattr(explore, "display", display)
    return shown


@pytest.fixture
def curve(short, monkeypatch):
    """A LiveCurve of stage 2 that always takes the time to draw; a run of two epochs was stored
    with the course."""

    class Eager(explore.LiveCurve):
        cost = property(lambda self: 0, lambda self, seconds: None)

    before = [entry(1, 0.25), entry(2, 0.5)]
    monkeypatch.setattr(explore, "stored", lambda course: {"stages": {"2": {"epochs": before}}})
    return Eager(short.stage(2))


def entry(epoch, accuracy, heldout=...):
    heldout = accuracy / 2 if heldout is ... else heldout
    return {
        "epoch": epoch,
        "loss": 1 / epoch,
        "train_accuracy": accuracy,
        "heldout_accuracy": heldout,
    }


def lines(figure):
    """The lines of a figure's accuracies, in percent: {label: their points}; what wasn't measured
    is left out."""
    points = {line.get_label(): line.get_xydata().tolist() for line in figure.axes[1].lines}
    return {label: [[x, y] for x, y in some if y == y] for label, some in points.items()}


def test_the_figure_grows_in_place_with_the_epoch_in_progress(curve, shown):
    curve.show([], lambda: entry(0.4, 0.1, None))
    curve.show([entry(1, 0.5)], lambda: entry(1.4, 0.7, None))
    curve.show([entry(1, 0.5), entry(2, 0.75)])
    (first, _), (script, _), (second, in_place), (third, again) = shown
    assert isinstance(script, Javascript) and in_place and again
    assert lines(first)[TRAINING] == [[0.4, 10]] and HELDOUT not in lines(first)
    assert lines(second)[TRAINING] == [[1, 50], [1.4, 70]] and lines(second)[HELDOUT] == [[1, 25]]
    assert lines(third)[TRAINING] == [[1, 50], [2, 75]]
    titles = [figure.get_suptitle() for figure in (first, second, third)]
    assert titles[0] == "Epoch 1 of 3: 10% of training images right"
    assert titles[1].startswith("Epoch 2 of 3: 70% of training and 25% of held-out images right")
    assert all(title in figure.alt for title, (figure, _) in zip(titles[1:], shown[2:]))


def test_the_stored_run_is_drawn_behind_and_the_distance_is_in_the_title(curve, shown):
    curve.show([entry(1, 0.5)])
    curve.show([entry(1, 0.5), entry(2, 0.3)])
    curve.show([entry(1, 0.5), entry(2, 0.3), entry(3, 0.3)])  # the stored run has no third epoch
    figures = [figure for figure, _ in shown if isinstance(figure, Picture)]
    for number, figure in enumerate(
        figures, 1
    ):  # no further than this run, or it would give the outcome away
        assert lines(figure)["the stored run"] == [[1, 25], [2, 50]][:number]
        grey = [line for line in figure.axes[1].lines if line.get_color() == "#b0b0b0"]
        assert len(grey) == 2 and all(line.get_zorder() < 2 for line in grey)
    points = [
        re.search(r"\((.*) points from the stored run\)", figure.get_suptitle())
        for figure in figures
    ]
    assert [match and match[1] for match in points] == ["+12", "-10", None]


def test_a_stored_run_without_held_out_images_is_no_problem(short, shown, monkeypatch):
    monkeypatch.setattr(
        explore, "stored", lambda course: {"stages": {"2": {"epochs": [entry(1, 0.25, None)]}}}
    )
    explore.LiveCurve(short.stage(2)).show([entry(1, 0.5)])
    assert (
        "25% of held-out" in shown[0][0].get_suptitle()
        and "stored" not in shown[0][0].get_suptitle()
    )


def test_without_a_stored_run_there_is_no_grey_and_no_distance(short, shown, monkeypatch):
    monkeypatch.setattr(explore, "stored", lambda course: None)
    explore.LiveCurve(short.stage(2)).show([entry(1, 0.5)])
    figure = shown[0][0]
    assert "the stored run" not in lines(figure) and "stored" not in figure.get_suptitle()


def test_drawing_takes_a_small_part_of_the_time(short, shown, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(explore.time, "monotonic", lambda: now[0])
    plot = explore.plot_history

    def in_a_second(*arguments):
        now[0] += 1
        return plot(*arguments)

    monkeypatch.setattr(explore, "plot_history", in_a_second)
    curve = explore.LiveCurve(short.stage(2))
    for _ in range(600):  # ten minutes of training, a step per second
        curve.show([entry(1, 0.5)], lambda: entry(1.5, 0.5, None))
        now[0] += 1
    assert 20 <= len(shown) <= 35


def test_a_trained_stage_is_shown_at_once_and_a_run_feeds_the_curve(short, shown):
    images, stage = noise_images(), short.stage(2)
    history = train(
        conv_model(), images, stage, augmented=False, heldout=images, live=explore.LiveCurve(stage)
    )
    epochs = [
        [x for x, _ in lines(figure)[TRAINING]]
        for figure, _ in shown
        if isinstance(figure, Picture)
    ]
    assert epochs[0] == [BATCH / len(images)] and epochs[-1] == [1, 2, 3] and len(history) == 3
    shown.clear()
    train(
        conv_model(), images, stage, augmented=False, heldout=images, live=explore.LiveCurve(stage)
    )
    [(figure, _), (script, _)] = shown
    assert [x for x, _ in lines(figure)[TRAINING]] == [
        1,
        2,
        3,
    ] and figure.get_suptitle().startswith("Epoch 3 of 3")


def test_in_a_script_an_epoch_is_a_line_of_text(short, monkeypatch):
    assert isinstance(live_curve(short.stage(2)), EpochLines)
    monkeypatch.setattr(explore, "get_ipython", lambda: type("Shell", (), {"kernel": object()}))
    assert isinstance(live_curve(short.stage(2)), explore.LiveCurve)


# --- Classes
# --------------------------------------------------------------------------------------------------------


def watch(monkeypatch, images, name):
    """A list of what a function draws from now on: [(positions of the images, its other arguments),
    …]."""
    seen, plot = [], getattr(explore, name)

    def watched(pixels, *arguments, **options):
        seen.append(
            (
                [int((images.pixels == image).flatten(1).all(1).nonzero()) for image in pixels],
                arguments,
            )
        )
        return plot(pixels, *arguments, **options)

    monkeypatch.setattr(explore, name, watched)
    return seen


def size_of(picture):
    """The width that a picture is shown in; it has at least that many pixels, and its content in
    words."""
    data, width, alt = re.search(
        r'base64,(.*)" width="(\d+)" alt="([^"<]+)"', picture.value
    ).groups()
    assert (
        Image.open(io.BytesIO(base64.b64decode(data))).width >= int(width) - 1 and "Images: " in alt
    )
    return int(width)


@pytest.fixture
def browser(monkeypatch):
    """The four widgets and a list of what was drawn."""
    labels = torch.tensor([5] * 30 + [7, 7, 9, -1] + [11] * 20)
    images = replace(noise_images(len(labels), side=8), labels=labels)
    seen = watch(monkeypatch, images, "plot_images")
    return *browse_classes(images).children, seen


def test_it_starts_with_the_first_class_that_has_images(browser):
    menu, page, caption, picture, seen = browser
    assert [value for _, value in menu.options] == [5, 7, 9, 11]
    assert "class 5" in menu.options[0][0] and "30" in menu.options[0][0]
    assert seen == [(list(range(12)), ([f"{i}.png" for i in range(12)],))]
    assert (page.min, page.value, page.max) == (1, 1, 3)
    assert caption.value == "30 images; page 1 of 3"


def test_pages_turn_and_the_last_one_is_short(browser):
    _, page, caption, _, seen = browser
    page.value = 3
    assert seen[-1][0] == list(range(24, 30)) and "page 3 of 3" in caption.value


def test_another_class_starts_at_its_first_page(browser):
    menu, page, _, picture, seen = browser
    page.value = 2
    before = picture.value
    menu.value = 7
    assert seen[-1][0] == [30, 31] and (page.value, page.max) == (1, 1) and picture.value != before
    menu.value, page.value = 11, 2
    menu.value = 5
    assert seen[-1][0] == list(range(12)) and page.max == 3
    menu.value = 9
    assert seen[-1][0] == [32]


def test_pictures_keep_one_size_however_many_a_class_has(browser):
    """A box stretches its children: without a width of their own, two images would fill two
    screens."""
    menu, _, _, picture, seen = browser
    for category, columns in ((5, 6), (7, 2), (9, 1)):
        menu.value = category
        assert len(seen[-1][0]) >= columns and 200 <= size_of(picture) / columns <= 230


# --- Predictions
# ----------------------------------------------------------------------------------------------------


@pytest.fixture
def predictions(monkeypatch):
    """The six widgets and a list of what was drawn, for 30 images; every third is taken for the
    class after its own."""
    labels = torch.arange(30) % 5
    images = replace(noise_images(30, side=8), labels=labels)
    probabilities = torch.zeros(30, 80)
    guesses = (labels + (torch.arange(30) % 3 == 0)) % 80
    shares = torch.linspace(0.5, 0.99, 30)
    probabilities[range(30), guesses] = shares
    probabilities[range(30), guesses + 1] = 1 - shares
    seen = watch(monkeypatch, images, "plot_predictions")
    return *browse_predictions(images, probabilities).children, seen


def test_predictions_are_filtered_by_outcome_class_and_confidence(predictions):
    kind, menu, sure, page, caption, picture, seen = predictions
    assert seen[-1][0] == list(range(12)) and caption.value == "30 images; page 1 of 3"
    kind.value = "wrong"
    assert seen[-1][0] == list(range(0, 30, 3)) and caption.value.startswith("10 images")
    menu.value = 0
    assert seen[-1][0] == [0, 15]
    kind.value = "right"
    assert seen[-1][0] == [5, 10, 20, 25]
    sure.value = (60, 90)
    assert seen[-1][0] == [10, 20]
    kind.value, menu.value, sure.value = "all", -1, (0, 100)
    page.value = 3
    assert seen[-1][0] == list(range(24, 30)) and picture.value


def test_three_likeliest_classes_are_named(predictions):
    *_, picture, seen = predictions
    images = noise_images(30, side=8)
    labels, probabilities = torch.tensor([0]), torch.eye(80)[:1]
    figure = explore.plot_predictions(
        images.pixels[:1], labels, probabilities, images.classes, likeliest=3
    )
    assert figure.axes[0].get_title().count("class") >= 3
    assert size_of(picture) > 600


def test_an_empty_choice_hides_the_picture_and_says_so(predictions):
    kind, menu, sure, page, caption, picture, seen = predictions
    page.value, count = 2, len(seen)
    menu.value = 50
    assert len(seen) == count + 1 and caption.value == "0 images; page 1 of 1"
    assert not picture.value
    menu.value = 1
    assert picture.value and len(seen[-1][0]) == 6


# --- Augmentation
# ---------------------------------------------------------------------------------------------------


@pytest.fixture
def augmentation(course, monkeypatch):
    """The explorer's widgets by name, and a list of the batches that it has drawn."""
    drawn, plot = [], explore.plot_images

    def watched(pictures, captions):
        drawn.append(pictures)
        return plot(pictures, captions)

    monkeypatch.setattr(explore, "plot_images", watched)
    number, area, angle, (flips, again), picture = [
        getattr(widget, "children", widget)
        for widget in browse_augmentation(course.data.train, course).children
    ]
    return {"number": number, "area": area, "angle": angle, "flips": flips, "again": again}, drawn


def test_the_original_stays_and_draws_differ(augmentation):
    widgets, drawn = augmentation
    assert len(drawn[0]) == 12 and len({picture.numpy().tobytes() for picture in drawn[0]}) == 12
    assert (drawn[0][1:] == 0).any()  # corners that a rotation left empty
    widgets["again"].click()
    assert torch.equal(drawn[1][0], drawn[0][0])
    assert all(not torch.equal(*pair) for pair in zip(drawn[0][1:], drawn[1][1:]))
    widgets["number"].value = 7
    assert not torch.equal(drawn[2][0], drawn[0][0])


def test_switched_off_nothing_changes_the_image_and_each_slider_does_its_part(augmentation):
    widgets, drawn = augmentation
    widgets["area"].value, widgets["angle"].value, widgets["flips"].value = 100, 0, False
    plain = drawn[-1][0]
    difference = (drawn[-1][1:] - plain).abs().mean((1, 2, 3))
    assert difference.median() < 0.15 and (drawn[-1][1:] != 0).any((1, 2, 3)).all()
    widgets["flips"].value = True
    versions = [plain, plain.flip(2), plain.flip(1), plain.flip(1, 2)]
    nearest = {
        min(range(4), key=lambda i: (versions[i] - one).abs().sum()) for one in drawn[-1][1:]
    }
    assert len(nearest) >= 3
    corners = (drawn[-1] == 0).all(1).flatten(1).sum(1)
    widgets["angle"].value = 90
    assert ((drawn[-1] == 0).all(1).flatten(1).sum(1) > corners + 20).sum() >= 6


# --- Diagrams
# -------------------------------------------------------------------------------------------------------


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("stride, in_", [(2, 128), (1, 256)])
def test_a_block_is_drawn_with_its_shapes_and_stays_as_it_is(stride, in_):
    block, before = res_block(in_, 128, stride=stride), res_block(in_, 128, stride=stride)
    before.load_state_dict(block.state_dict())
    shown = texts(draw_block(block, (in_, 16, 16)))
    side = 16 // stride
    for shape in ((in_, 16, 16), (128, 16, 16), (128, side, side), (256, side, side)):
        assert str(shape) in shown
    assert any("3×3 conv" in text and ("stride 2" in text) == (stride == 2) for text in shown)
    [shortway] = [text for text in shown if "short-cut" in text]
    assert ("identity" in shortway) == (stride == 1) and ("stride 2" in shortway) == (stride == 2)
    assert same_weights(block, before) and block.training


def test_the_model_is_drawn_with_its_shapes_and_stays_as_it_is():
    model, before = get_model(MyModel, seed=0), get_model(MyModel, seed=0)
    model.conv2.eval()
    figure = draw_model(model, 64)
    shown = "\n".join(texts(figure))
    for text in (
        "image",
        "conv2\n2 blocks",
        "conv3\n3 blocks",
        "conv4\n5 blocks",
        "conv5\n3 blocks",
        "fc",
        "64 × 64",
    ):
        assert text in shown
    assert "(1024, 2, 2)" in figure.alt and "(80,)" in figure.alt and "(3, 64, 64)" in figure.alt
    assert same_weights(model, before) and model.training and not model.conv2.training
