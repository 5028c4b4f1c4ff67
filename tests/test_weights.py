"""Files that people call `model.pth`: loaded if that is safe and right, and otherwise explained."""

import gzip
import json
import os
import struct
import zipfile
from collections import OrderedDict
from itertools import permutations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from report_model import ReportBlock, ReportModel
from torch import nn

from course_lib import CheckpointError, MyModel, get_model


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


def small(block=None, classes=None):
    """A network with the same kinds of tensors as the report's, but few of them."""
    return nn.Sequential(
        OrderedDict(conv=nn.Conv2d(3, 4, 3), norm=nn.BatchNorm2d(4), fc=nn.Linear(4, 5))
    )


def saved(tmp_path, content, **options):
    path = tmp_path / "model.pth"
    torch.save(content, path, **options)
    return path


def without(weights, name):
    return OrderedDict((key, value) for key, value in weights.items() if key != name)


def prefixed(prefix, weights):
    return OrderedDict((prefix + name, value) for name, value in weights.items())


def refused(path, *named, model_class=small):
    """Assert that `get_model` refuses a file in words that name it and `named`."""
    with pytest.raises(CheckpointError) as caught:
        get_model(model_class, path)
    for text in (path.name, *named):
        assert text in str(caught.value)


# --- What is taken


@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_model_saved_by_the_reports_code_gives_the_same_logits(
    tmp_path, report_model, weights, prefix
):
    path = saved(tmp_path, prefixed(prefix, weights))
    images = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        expected = report_model(images)
        found = get_model(MyModel, path).eval()(images)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


class Lightning(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.net = model


@pytest.mark.parametrize(
    "wrappers",
    [
        *permutations([nn.DataParallel, torch.compile, Lightning], 1),
        *permutations([nn.DataParallel, torch.compile, Lightning], 2),
        *permutations([nn.DataParallel, torch.compile, Lightning], 3),
        [nn.DataParallel, nn.DataParallel],
    ],
)
@pytest.mark.parametrize("compiled_part", [False, True])
def test_weights_of_a_wrapped_model_are_its_own(tmp_path, wrappers, compiled_part):
    model = small()
    expected = model.state_dict()
    if compiled_part:
        model.norm = torch.compile(model.norm)
    for wrapper in wrappers:
        model = wrapper(model)
    found = get_model(small, saved(tmp_path, model.state_dict())).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net", "weights"])
def test_the_only_weights_in_a_checkpoint_are_taken(tmp_path, key):
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    content = {
        "epoch": 3,
        key: model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "loss": 0.1,
    }
    found = get_model(small, saved(tmp_path, content)).state_dict()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_another_precision_are_converted(tmp_path, dtype):
    model = small().to(dtype)
    found = get_model(small, saved(tmp_path, model.state_dict())).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(found[name], value.to(found[name].dtype))
        assert found[name].dtype in (torch.float32, torch.int64)


@pytest.mark.parametrize("zipped", [True, False])
def test_both_formats_of_pytorch_are_read_also_without_counted_batches(tmp_path, zipped):
    weights = small().state_dict()
    expected = weights["conv.weight"].clone()
    content = without(weights, "norm.num_batches_tracked")
    path = saved(tmp_path, content, _use_new_zipfile_serialization=zipped)
    assert torch.equal(get_model(small, path).conv.weight, expected)


def test_a_name_of_the_models_own_is_no_wrapper(tmp_path):
    def named_module(block=None, classes=None):
        return nn.Sequential(OrderedDict(module=small()))

    weights = named_module().state_dict()
    found = get_model(named_module, saved(tmp_path, weights)).state_dict()
    assert all(torch.equal(found[name], value) for name, value in weights.items())


# --- What is refused


@pytest.mark.parametrize(
    "change, named",
    [
        (lambda weights: without(weights, "fc.bias"), "fc.bias"),
        (lambda weights: weights | {"conv6.weight": torch.zeros(1)}, "conv6.weight"),
        (lambda weights: weights | {"fc.weight": torch.zeros(10, 4)}, "fc.weight"),
        (lambda weights: weights | {"fc.weight": torch.zeros(10, 4)}, "[10, 4] instead of [5, 4]"),
        (lambda weights: weights | {"fc.weight": torch.tensor(3.0)}, "fc.weight"),
        (lambda weights: weights | {"_orig_mod.fc.bias": torch.zeros(5)}, "twice"),
        (lambda weights: weights | {"epoch": 3}, "'epoch' (int)"),
        (lambda weights: weights | {0: torch.zeros(1)}, "state_dict"),
        (lambda weights: {0: torch.zeros(1)}, "0 (Tensor)"),
        (lambda weights: {"a": torch.zeros(1)}, "'a'"),
        (lambda weights: {"": torch.zeros(1)}, "''"),
        (lambda weights: {".": torch.zeros(1)}, "conv.weight"),
        (lambda weights: {"a." * 50_000: torch.zeros(1)}, "conv.weight"),
        (lambda weights: {"\x1b[2Jx": torch.zeros(1)}, r"\x1b[2Jx"),
        (lambda weights: {}, "empty"),
        (lambda weights: list(weights.values()), "list"),
        (lambda weights: torch.zeros(3), "Tensor"),
        (lambda weights: None, "NoneType"),
        (lambda weights: {"model": weights, "ema": weights}, "'ema'"),
        (lambda weights: {"epoch": 3, "best": 0.5}, "'epoch' (int), 'best' (float)"),
        (lambda weights: {"model": {}}, "'model' (dict)"),
        (lambda weights: {"state": {}, "param_groups": []}, "optimizer"),
        (lambda weights: prefixed("module.", weights) | {"n_averaged": torch.tensor(3)}, "averag"),
        (lambda weights: prefixed("module.", without(weights, "fc.bias")), "lacks 1"),
        (lambda weights: nn.Conv2d(1, 1, 1).state_dict(), "'weight', 'bias'"),
    ],
)
def test_weights_of_anything_else_are_refused(tmp_path, change, named):
    refused(saved(tmp_path, change(small().state_dict())), named)


@pytest.mark.parametrize(
    "name, convert",
    [
        ("fc.weight", lambda value: value.to(torch.int8)),
        ("fc.weight", lambda value: value.to(torch.complex64)),
        ("fc.weight", lambda value: value.to_sparse()),
        ("fc.weight", lambda value: value.to("meta")),
        ("fc.weight", lambda value: torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)),
        ("norm.num_batches_tracked", lambda value: value + 0.5),
        ("norm.num_batches_tracked", lambda value: value + 1j),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_numbers_that_would_change_their_meaning_are_refused(tmp_path, name, convert):
    weights = small().state_dict()
    refused(saved(tmp_path, weights | {name: convert(weights[name])}), name)


@settings(max_examples=15)
@given(
    data=st.data(),
    value=st.sampled_from([float("nan"), float("inf"), -float("inf"), 1e300]),
    wrapper=st.sampled_from(["", "module.", "_orig_mod."]),
)
def test_weights_that_are_not_finite_are_refused(tmp_path_factory, data, value, wrapper):
    """Wherever they are; 1e300 is finite in the file, but not in the model's float32."""
    weights = {name: tensor.double() for name, tensor in small().state_dict().items()}
    weights["norm.num_batches_tracked"] = torch.tensor(0)
    real = [name for name, tensor in weights.items() if tensor.is_floating_point()]
    name = data.draw(st.sampled_from(real))
    tensor = weights[name].flatten()
    tensor[data.draw(st.integers(0, len(tensor) - 1))] = value
    weights[name] = tensor.view_as(weights[name])
    path = saved(tmp_path_factory.mktemp("weights"), prefixed(wrapper, weights))
    refused(path, name, f"1 of {tensor.numel()}")


@pytest.mark.parametrize("name", ["norm.running_var", "norm.num_batches_tracked"])
def test_statistics_that_no_training_leads_to_are_refused(tmp_path, name):
    """A negative variance makes every logit NaN."""
    weights = small().state_dict()
    weights[name] = weights[name].clone()
    weights[name].view(-1)[-1] = -1
    refused(saved(tmp_path, weights), name)


# --- What isn't a file of weights at all


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("size", [0, 1, 100, 1500, -1])
def test_a_truncated_file_is_refused(tmp_path, size, zipped):
    path = saved(tmp_path, small().state_dict(), _use_new_zipfile_serialization=zipped)
    path.write_bytes(path.read_bytes()[:size])
    refused(path)


def test_a_flipped_bit_in_the_weights_is_noticed(tmp_path):
    """torch.load doesn't check the checksums of the archive."""
    weights = small().state_dict()
    path = saved(tmp_path, weights)
    damaged = bytearray(path.read_bytes())
    place = damaged.find(weights["fc.weight"].numpy().tobytes())
    damaged[place + 1] ^= 1
    path.write_bytes(damaged)
    torch.load(path)
    refused(path, "checksum")


def safetensors():
    header = json.dumps({"fc.bias": {"dtype": "F32", "shape": [5], "data_offsets": [0, 20]}})
    return struct.pack("<Q", len(header)) + header.encode() + bytes(20)


@pytest.mark.parametrize(
    "content, named",
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>Google Drive - Quota exceeded</html>", "web page"),
        (b"\xef\xbb\xbf\r\n <html>Please log in</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "LFS"),
        (safetensors(), "safetensors"),
        (b"\x89HDF\r\n\x1a\n" + bytes(100), "HDF5"),
        (gzip.compress(b"weights", mtime=0), "gzip"),
        (b"just some text", "damaged"),
        (bytes(1000), "damaged"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path, content, named):
    path = tmp_path / "model.pth"
    path.write_bytes(content)
    refused(path, named)


@pytest.mark.filterwarnings("ignore")
def test_another_kind_of_archive_is_named(tmp_path):
    path = tmp_path / "model.pth"
    torch.jit.trace(nn.Linear(2, 2), torch.zeros(1, 2)).save(path)
    refused(path, "TorchScript")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/model.pth", b"weights")
    refused(path, "zip archive")


@pytest.mark.parametrize("zipped", [True, False])
def test_python_objects_are_named_as_such(tmp_path, report_model, zipped):
    path = saved(tmp_path, report_model, _use_new_zipfile_serialization=zipped)
    refused(path, "report_model.ReportModel")
    arrays = {name: value.numpy() for name, value in small().state_dict().items()}
    refused(saved(tmp_path, arrays, _use_new_zipfile_serialization=zipped), "numpy")


def test_what_is_no_file_is_refused(tmp_path):
    refused(tmp_path, "folder")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.pth")  # reading it would wait for ever
        refused(tmp_path / "pipe.pth", "regular")


class Malicious:
    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("zipped", [True, False])
def test_nothing_in_a_file_is_executed(tmp_path, zipped):
    weights = small().state_dict()
    path, trace = tmp_path / "model.pth", tmp_path / "executed"
    torch.save(weights | {"fc.bias": Malicious(trace)}, path, _use_new_zipfile_serialization=zipped)
    refused(path, "Python objects")
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the file would have done it
    assert trace.exists()
