"""The report's network, and what `get_model` takes for its weights: that, and nothing else."""

import json
import os
import random
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from report_model import ReportBlock, ReportModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_lib import (
    CheckpointError,
    ConstantWidth,
    MyModel,
    get_model,
    plain_block,
    res_block,
    two_conv_block,
)

KEYS = json.loads(Path(__file__).with_name("model_keys.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def model():
    return get_model(MyModel)


@pytest.fixture(scope="module")
def report_model():
    """A model of the report's own code after a step in train mode: its running statistics are not
    the initial ones."""
    torch.manual_seed(3)
    model = ReportModel(ReportBlock)
    model(torch.randn(4, 3, 64, 64))
    return model.eval()


@pytest.fixture
def weights(report_model):
    return OrderedDict(report_model.state_dict())


def saved(tmp_path, content):
    path = tmp_path / "model.pth"
    torch.save(content, path)
    return path


def test_names_order_and_shapes_are_the_reports(model):
    assert [(name, list(value.shape)) for name, value in model.state_dict().items()] == list(
        KEYS.items()
    )


def test_it_has_the_measured_size(model):
    assert sum(weight.numel() for weight in model.parameters()) == 15_699_088
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    assert len(layers) == 44 + 1


@pytest.mark.parametrize("side", [32, 64, 97])
def test_any_picture_gives_80_logits(model, side):
    assert model(torch.zeros(2, 3, side, side)).shape == (2, 80)


@pytest.mark.parametrize(
    "in_, out_, stride, shortway", [(64, 64, 1, 2), (128, 64, 1, 0), (128, 64, 2, 2)]
)
def test_a_block_doubles_its_width_and_shortens_the_way_where_it_can(in_, out_, stride, shortway):
    block = res_block(in_, out_, stride)
    assert block(torch.zeros(2, in_, 8, 8)).shape == (2, 2 * out_, 8 // stride, 8 // stride)
    assert len(block.shortway) == shortway


def test_another_block_can_be_put_in_its_place():
    class one_convolution(nn.Sequential):
        def __init__(self, in_, out_, stride=1):
            super().__init__(nn.Conv2d(in_, out_ * 2, 3, stride, 1))

    assert MyModel(one_convolution)(torch.zeros(1, 3, 32, 32)).shape == (1, 80)


def test_without_the_short_cut_the_rest_of_the_block_is_the_same():
    ours, plain, x = res_block(8, 4), plain_block(8, 4), torch.randn(2, 8, 6, 6)
    plain.load_state_dict(ours.state_dict())
    main = ours.eval().conv3(ours.conv2(ours.conv1(x)))
    assert torch.equal(ours(x), (main + x).relu()) and torch.equal(plain.eval()(x), main.relu())


@pytest.mark.parametrize(
    "model, weights, multiplications",
    [
        (get_model(MyModel), 15_699_088, 0.20),
        (get_model(MyModel, block=plain_block), 15_699_088 - 700_160, 0.19),
        (get_model(MyModel, block=two_conv_block), 78_896_272, 0.92),
        (get_model(ConstantWidth), 3_002_768, 0.19),
    ],
)
def test_the_variants_cost_what_the_claims_compare(model, weights, multiplications):
    with FlopCounterMode(display=False) as counter:
        assert model.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 80)
    assert sum(weight.numel() for weight in model.parameters()) == weights
    assert counter.get_total_flops() / 2e9 == pytest.approx(multiplications, abs=0.005)
    assert all(weight.requires_grad for weight in model.parameters())


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_model_saved_by_the_reports_code_gives_the_same_logits(
    tmp_path, report_model, weights, prefix
):
    path = saved(tmp_path, OrderedDict((prefix + name, value) for name, value in weights.items()))
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected = report_model(images)
        found = get_model(MyModel, path).eval()(images)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_ours_loads_in_the_reports_code(model):
    ReportModel(ReportBlock).load_state_dict(model.state_dict())


def without(weights, name):
    return OrderedDict((key, value) for key, value in weights.items() if key != name)


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda weights: without(weights, "fc.bias"), "fc.bias"),
        (lambda weights: weights | {"conv6.weight": torch.zeros(1)}, "conv6.weight"),
        (
            lambda weights: weights | {"fc.weight": torch.zeros(10, 1024)},
            r"fc.weight.*\[10, 1024\].*\[80, 1024\]",
        ),
        (lambda weights: {}, "conv1.0.weight"),
        (lambda weights: list(weights.values()), "state_dict"),
        (lambda weights: torch.zeros(3), "state_dict"),
        (lambda weights: {"epoch": 3, "model": weights}, "state_dict"),
        (lambda weights: None, "state_dict"),
    ],
)
def test_weights_of_anything_else_are_refused(tmp_path, weights, change, named):
    with pytest.raises(CheckpointError, match=f"model.pth.*{named}"):
        get_model(MyModel, saved(tmp_path, change(weights)))


@pytest.mark.parametrize("size", [0, 1, 100, 100_000, -1])
def test_a_truncated_file_is_refused(tmp_path, weights, size):
    path = saved(tmp_path, weights)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(CheckpointError, match="model.pth"):
        get_model(MyModel, path)


def test_a_folder_a_text_or_a_whole_model_is_refused(tmp_path, report_model):
    (tmp_path / "text.pth").write_text("<html>Please log in</html>")
    for path in (tmp_path, tmp_path / "text.pth", saved(tmp_path, report_model)):
        with pytest.raises(CheckpointError, match=path.name):
            get_model(MyModel, path)


class Malicious:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_executed(tmp_path, weights, zipped):
    path, trace = tmp_path / "model.pth", tmp_path / "executed"
    torch.save(weights | {"fc.bias": Malicious(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError):
        get_model(MyModel, path)
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the file would have done it
    assert trace.exists()


def test_a_new_model_depends_on_the_seed_alone(tmp_path):
    torch.manual_seed(1)
    first = get_model(MyModel, tmp_path / "not there.pth", seed=5)
    torch.manual_seed(2)
    again, other = get_model(MyModel, seed=5), get_model(MyModel, seed=6)
    assert torch.equal(first.fc.weight, again.fc.weight) and torch.equal(
        first.conv1[0].weight, again.conv1[0].weight
    )
    assert not torch.equal(first.fc.weight, other.fc.weight)
    assert first.training and first.fc.weight.device.type == "cpu"


def test_the_global_random_state_is_left_alone(monkeypatch):
    def touched(*args):
        raise AssertionError("the CUDA generators were seeded")

    monkeypatch.setattr(torch.cuda, "manual_seed_all", touched)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), random.getstate()
    get_model(MyModel)
    assert torch.equal(before[0], torch.get_rng_state())
    assert (before[1] == np.random.get_state()[1]).all() and before[2] == random.getstate()
