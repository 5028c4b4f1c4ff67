"""The report's network, its variants, and its first weights."""

import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from report_model import ReportBlock, ReportModel
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from course_lib import (
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


@pytest.mark.parametrize("model_class", [MyModel, ConstantWidth])
def test_it_has_as_many_outputs_as_you_have_classes(model_class):
    assert model_class(res_block, classes=7)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


def test_ours_loads_in_the_reports_code(model):
    ReportModel(ReportBlock).load_state_dict(model.state_dict())


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
