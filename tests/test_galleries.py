"""Galleries of the notebooks, and the pictures of the theory."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from torchvision import transforms

from course_lib import galleries, show_classes, show_plain_and_augmented, show_shapes, show_steps
from course_lib.galleries import show_predictions
from course_lib.theory import path_of_steps, plot_convolutions, plot_momentum, plot_surprise

PLAIN = transforms.Compose([transforms.Resize((8, 8)), transforms.ToTensor()])


@pytest.fixture
def plotted(monkeypatch):
    """The images, captions and options of every gallery, in a list."""
    calls = []
    plot = galleries.plot_images

    def plot_and_note(images, captions, **options):
        calls.append((images, captions, options))
        return plot(images, captions, **options)

    monkeypatch.setattr(galleries, "plot_images", plot_and_note)
    return calls


def test_classes_are_rows_of_their_own_images(course, plotted):
    train = course.data.train
    show_classes(train, 3, columns=2)
    [(images, captions, options)] = plotted
    assert options["columns"] == 2
    assert len(images) == len(captions) == 6
    named = [caption for caption in captions[::2]]
    assert len(set(named)) == 3 and set(captions[1::2]) == {""}
    first = (train.labels == 0).nonzero()[0]
    assert (images[0] == train.batch(first)[0]).all()


@pytest.mark.parametrize("classes", range(1, 14))
def test_as_many_classes_are_shown_as_asked_for(course, plotted, classes):
    train = course.data.train
    some = train.subset((train.labels < classes).nonzero().flatten())
    show_classes(some, 4, columns=2)
    [(_, captions, _)] = plotted
    assert len({caption for caption in captions if caption}) == min(4, classes)


def test_fewer_columns_leave_room_for_longer_names(course, plotted):
    eight = course.data.train.subset([0] * 8)
    longer = replace(eight, classes=["nineteen characters", *eight.classes[1:]])
    for columns in (6, 8):
        show_classes(longer, 1, columns=columns)
    name_of_six, name_of_eight = [captions[0] for _, captions, _ in plotted]
    assert name_of_six == longer.classes[0]
    assert len(name_of_eight) <= 16


def test_each_step_of_a_transform_is_named_with_its_shape_and_range(capsys):
    show_shapes(Image.new("RGB", (10, 6), "white"), PLAIN)
    resized, tensor = capsys.readouterr().out.splitlines()
    assert "Resize" in resized and "8 × 8" in resized
    assert "(3, 8, 8)" in tensor and "+1.00 to +1.00" in tensor


def test_the_steps_of_an_augmentation_are_drawn_with_the_seed_alone(plotted):
    picture = Image.effect_noise((32, 32), 90).convert("RGB")
    augmented = transforms.Compose(
        [
            transforms.RandomResizedCrop((8, 8)),
            transforms.ToTensor(),
            transforms.Normalize(0.5, 0.5),
            transforms.RandomRotation(90),
        ]
    )
    before = torch.random.get_rng_state()
    for seed in (1, 1, 2):
        show_steps(picture, PLAIN, augmented, seed)
    assert (torch.random.get_rng_state() == before).all()
    (one, captions, _), (same, _, _), (other, _, _) = plotted
    assert captions == ["the picture", "ResizedCrop", "Rotation"]
    assert (one == same).all() and not (one == other).all()
    assert (one[0] == PLAIN(picture)).all()


def test_an_image_is_shown_as_it_is_and_augmented(course, plotted, monkeypatch):
    seen = []
    monkeypatch.setattr(
        galleries, "plot_predictions", lambda *shown, title: seen.append((*shown, title))
    )
    some = course.data.train.take(3)
    show_plain_and_augmented(course.new_model(), some, course)
    [(images, labels, probabilities, _, title)] = seen
    assert len(images) == len(labels) == len(probabilities) == 6
    assert (labels[:3] == labels[3:]).all()
    assert not (images[:3] == images[3:]).all()
    assert "3 training images" in title


def test_predictions_say_how_many_of_all_images_are_misclassified(course):
    images = course.data.heldout
    probabilities = torch.eye(len(images.classes))[images.labels]
    probabilities[:5] = probabilities[:5].roll(1, dims=1)
    assert "5 of" in show_predictions(images, probabilities, 4, seed=0).alt
    assert len(show_predictions(images, probabilities, 4, seed=0).axes) == 4


def test_momentum_gets_further_and_without_it_the_steps_follow_the_formula():
    near = path_of_steps(0.02, 0.9, 40)[-1].norm()
    path = path_of_steps(0.02, 0, 40)
    assert near < path[-1].norm()
    slopes = path[:-1] * torch.tensor([1.0, 20.0])
    assert torch.allclose(path[1:], path[:-1] - 0.02 * slopes, atol=1e-6)


def test_the_pictures_of_the_theory_are_described_and_drawn():
    image = torch.rand(3, 32, 32) * 2 - 1
    for figure in (plot_convolutions(image), plot_surprise(80), plot_momentum(steps=3)):
        assert figure.alt and len(figure.png()) > 1000


def test_a_convolution_of_one_pixel_keeps_each_pixels_place():
    """The 1×1 convolution's channel is red minus blue, pixel by pixel."""
    image = torch.rand(3, 16, 16) * 2 - 1
    shown = plot_convolutions(image).axes[1].images[0].get_array()
    assert torch.allclose(torch.as_tensor(shown), image[0] - image[2], atol=1e-6)
