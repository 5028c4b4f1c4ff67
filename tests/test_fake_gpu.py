"""Training, evaluation and prediction on a GPU that isn't there: is every tensor where it must be?

See fake_gpu.py. A tensor that's left on the CPU raises an error, as it would on a real GPU.
"""

from dataclasses import replace

import pytest
import torch
from fake_gpu import GPU, fake_gpu
from tiny import conv_model, noise_images

from course_lib import MyModel, evaluate, get_model, loops, predict, train
from course_lib.augment import EVALUATION_BATCH, evaluation_batches, training_batches
from course_lib.device import PRECISIONS, Precision, place

TESTED_WITH = (2, 14)  # an older PyTorch may lack what these tests need; a newer one may not
BATCH = 8  # of the `short` course
STAGE = 3  # the one with augmentation


@pytest.fixture
def gpu(course, monkeypatch):
    """A fake GPU; `course` is opened before it's there."""
    with fake_gpu(monkeypatch) as found:
        try:
            torch.zeros(2, 2).to(GPU) @ torch.zeros(2, 2, device=GPU)
        except Exception as error:
            version = tuple(int(part) for part in torch.__version__.split(".")[:2])
            if version >= TESTED_WITH:
                raise
            pytest.skip(f"PyTorch {torch.__version__} has no fake GPU without a real one: {error}")
        yield found


def on_the_gpu(course, precision="fp32"):
    """The course as it is on a GPU, in some precision."""
    return replace(course, device=GPU, precision=Precision(precision, "cuda"))


def devices(model):
    return {tensor.device for tensor in model.state_dict().values()}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_network_predicts_on_a_gpu(short, gpu, precision):
    model = get_model(MyModel)
    probabilities = predict(model, noise_images(4), on_the_gpu(short, precision))
    assert probabilities.shape == (4, 80)
    assert probabilities.device.type == "cpu" and probabilities.dtype == torch.float32
    assert devices(model) == {GPU}
    assert gpu.computed_in == {PRECISIONS[precision]}


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_stage_is_trained_and_measured_on_a_gpu(short, gpu, precision):
    course = on_the_gpu(short.experiment("gpu", epochs=1), precision)
    stage = course.stage(STAGE)
    model = conv_model()
    images = noise_images()
    trained_in = set()

    def take_note(module, inputs, logits):
        if module.training:
            trained_in.add(logits.dtype)

    model.register_forward_hook(take_note)
    history = train(model, images, stage, augmented=True, heldout=images)
    assert len(history) == 1 and gpu.steps == 3
    assert devices(model) == {GPU}
    assert trained_in == {PRECISIONS[precision]}
    assert evaluate(model, images, course, augmented=True).images == len(images)
    loops.test(model, images, course, course.folder / "result.csv")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("change", [{"label_smoothing": 0.1}, {"plain": 0.5}])
def test_settings_train_on_a_gpu(short, gpu, precision, change):
    course = on_the_gpu(short.experiment("changed", epochs=1, **change), precision)
    train(conv_model(), noise_images(), course.stage(STAGE), augmented=True)
    assert gpu.steps == 3


@pytest.mark.parametrize("fits", [True, False])
@pytest.mark.parametrize("augmented", [True, False])
@pytest.mark.parametrize("size", [32, 48])
def test_batches_are_made_on_the_gpu(short, gpu, monkeypatch, fits, augmented, size):
    """Whether the bank is resident, or each batch is sent; at the bank's size, or resized."""
    if not fits:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (1000, 1000))
    settings = replace(short.settings, size=size)
    course = replace(on_the_gpu(short), settings=settings)
    images = noise_images(9).resident(GPU)
    assert images.pixels.is_cuda == fits
    for batch in training_batches(images, course.stage(STAGE), 1, augmented):
        assert batch.images.device == batch.labels.device == GPU
        assert batch.images.shape == (len(batch.labels), 3, size, size)
        assert batch.images.dtype == torch.float32
    for pixels, labels in evaluation_batches(images, course, augmented):
        assert pixels.device == labels.device == GPU
        assert pixels.shape == (9, 3, size, size)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_stage_resumes_on_a_gpu(short, gpu, saving_often, precision):
    course = on_the_gpu(short, precision)
    begun = course.experiment("resumed", epochs=1).stage(STAGE)
    train(conv_model(), noise_images(), begun, augmented=True)
    assert gpu.steps == 3
    longer = course.experiment("resumed", epochs=2).stage(STAGE)
    model = conv_model()
    assert len(train(model, noise_images(), longer, augmented=True)) == 2
    assert gpu.steps == 6
    assert devices(model) == {GPU}


@pytest.mark.parametrize("augmented", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_no_step_waits_for_the_gpu(short, gpu, precision, augmented):
    """To read a value, Python waits until the GPU has computed it: once per epoch is enough."""

    def reads(name, count):
        course = on_the_gpu(short.experiment(name, epochs=1), precision)
        before = gpu.reads
        train(conv_model(), noise_images(count), course.stage(STAGE), augmented=augmented)
        return gpu.reads - before

    assert reads("one step", BATCH) == reads("ten steps", 10 * BATCH)
    assert gpu.steps == 11


def test_no_batch_of_an_evaluation_waits_for_the_gpu(short, gpu):
    def reads(count):
        before = gpu.reads
        predict(place(conv_model(), GPU), noise_images(count), on_the_gpu(short))
        return gpu.reads - before

    assert reads(1) == reads(2 * EVALUATION_BATCH + 1)


def test_a_tensor_left_on_the_cpu_is_an_error(gpu):
    """Otherwise, the tests above would prove nothing."""
    model = place(conv_model(), GPU)
    images = torch.zeros(2, 3, 32, 32)
    logits = model(images.to(GPU))
    with pytest.raises(RuntimeError):
        model(images)
    with pytest.raises(RuntimeError):
        torch.nn.functional.cross_entropy(logits, torch.zeros(2, dtype=torch.int64))
    with pytest.raises(RuntimeError):
        conv_model()(images.to(GPU))
    with pytest.raises(RuntimeError):
        torch.stack([logits.sum(), torch.tensor(1.0)])
