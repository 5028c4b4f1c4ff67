"""The diagrams of a block and of the model: they show its shapes, and leave it as it is."""

import pytest
from tiny import same_weights

from course_lib import MyModel, draw_block, draw_model, get_model, res_block


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.mark.parametrize("stride, in_", [(2, 128), (1, 256)])
def test_a_block_is_drawn_with_its_shapes_and_stays_as_it_is(stride, in_):
    block = res_block(in_, 128, stride=stride)
    before = res_block(in_, 128, stride=stride)
    before.load_state_dict(block.state_dict())
    shown = texts(draw_block(block, (in_, 16, 16)))
    side = 16 // stride
    for shape in ((in_, 16, 16), (128, 16, 16), (128, side, side), (256, side, side)):
        assert str(shape) in shown
    assert any("3×3 conv" in text and ("stride 2" in text) == (stride == 2) for text in shown)
    [shortway] = [text for text in shown if "short-cut" in text]
    assert ("identity" in shortway) == (stride == 1)
    assert ("stride 2" in shortway) == (stride == 2)
    assert same_weights(block, before)
    assert block.training


def test_the_model_is_drawn_with_its_shapes_and_stays_as_it_is():
    model = get_model(MyModel, seed=0)
    before = get_model(MyModel, seed=0)
    model.conv2.eval()
    figure = draw_model(model, 64)
    groups = ["conv2\n2 blocks", "conv3\n3 blocks", "conv4\n5 blocks", "conv5\n3 blocks"]
    for text in ("image", *groups, "fc"):
        assert text in texts(figure)
    assert any("64 × 64" in text for text in texts(figure))
    for shape in ("(3, 64, 64)", "(1024, 2, 2)", "(80,)"):
        assert shape in figure.alt
    assert same_weights(model, before)
    assert model.training and not model.conv2.training
