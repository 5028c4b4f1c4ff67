"""Fingerprints: any edit of a network or of the code that trains is noticed, and nothing else."""

import collections
import functools
import importlib
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import at_step, conv_model, noise_images, press_stop, same_weights
from torch import nn

from course_lib import CheckpointError, Stopped, evaluate, fingerprints, measure, record, train
from course_lib.device import Precision
from course_lib.fingerprints import (
    TRAINING_CODE,
    measured_on,
    model_identity,
    new_model_identity,
    training_code_has_changed,
)
from course_lib.settings import STAGES
from course_lib.sources import NotDescribed, without_comments

HERE = Path(__file__).parents[1]


def network(activation=nn.ReLU, **members):
    """`conv_model` as a class of one's own."""
    kind = type("Net", (nn.Sequential,), members)
    layers = list(conv_model())
    layers[2] = activation()
    return kind(*layers)


def with_default(scale):
    def forward(self, x, scale=scale):
        return nn.Sequential.forward(self, x) * scale

    return forward


def with_closure(scale):
    def forward(self, x):
        return nn.Sequential.forward(self, x) * scale

    return forward


def with_attribute(scale):
    model = network(forward=lambda self, x: nn.Sequential.forward(self, x) * self.scale)
    model.scale = scale
    return model


def with_method(more):
    return network(forward=lambda self, x: self.more(nn.Sequential.forward(self, x)), more=more)


def with_tensor(scale):
    model = network(forward=lambda self, x: nn.Sequential.forward(self, x) * self.scales[0])
    model.scales = [torch.tensor(scale)]
    return model


def tripled(x):
    return 3 * x


HELPERS = {"helper": tripled}


def with_helper():
    return network(forward=lambda self, x: HELPERS["helper"](nn.Sequential.forward(self, x)))


EDITS = {
    "an activation": (network, lambda: network(nn.Tanh)),
    "a default argument": (
        lambda: network(forward=with_default(1.0)),
        lambda: network(forward=with_default(0.1)),
    ),
    "a closure": (
        lambda: network(forward=with_closure(1.0)),
        lambda: network(forward=with_closure(0.1)),
    ),
    "an attribute": (lambda: with_attribute(1.0), lambda: with_attribute(0.1)),
    "a method": (
        lambda: with_method(lambda self, x: x),
        lambda: with_method(lambda self, x: x * 0.1),
    ),
    "a tensor that's no parameter": (lambda: with_tensor(1.0), lambda: with_tensor(0.1)),
    "a layer's option": (
        conv_model,
        lambda: nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1, bias=False), *list(conv_model())[1:]),
    ),
}


@pytest.mark.parametrize("edit", EDITS)
@pytest.mark.parametrize("stopped", [True, False])
def test_a_stage_does_not_continue_with_an_edited_network(short, edit, stopped):
    before, after = EDITS[edit]
    model = before()
    if stopped:
        at_step(model, 5, press_stop)
        with pytest.raises(Stopped):
            train(model, noise_images(), short.stage(2), augmented=False)
    else:
        train(model, noise_images(), short.stage(2), augmented=False)
    files = {path: path.read_bytes() for path in short.folder.rglob("*") if path.is_file()}
    with pytest.raises(CheckpointError, match="stage-2"):
        train(after(), noise_images(), short.stage(2), augmented=False)
    for path, data in files.items():
        assert path.read_bytes() == data
    train(before(), noise_images(), short.stage(2), augmented=False)  # the edit undone


def test_a_function_that_the_network_calls_is_part_of_it(short, monkeypatch):
    train(with_helper(), noise_images(), short.stage(2), augmented=False)
    monkeypatch.setitem(HELPERS, "helper", torch.sigmoid)
    with pytest.raises(CheckpointError, match="another network"):
        train(with_helper(), noise_images(), short.stage(2), augmented=False)


SOURCE = '''
class Net(nn.Module):
    """What it does."""

    def forward(self, x):
        """And how."""
        y = self.body(x)  # a comment
        return y * 0.5
'''


@pytest.mark.parametrize(
    "edited, same",
    [
        (SOURCE.replace("What it does", "What it's for"), True),
        (SOURCE.replace('        """And how."""\n', ""), True),
        (SOURCE.replace("  # a comment", ""), True),
        (SOURCE.replace("y * 0.5", "(y\n            * 0.5\n        )").replace("(", "("), False),
        (SOURCE.replace("0.5", "0.25"), False),
        (
            SOURCE.replace(
                "        return", "        if x is None:\n            y = 1\n        return"
            ),
            False,
        ),
        (SOURCE.replace("    return y * 0.5", "    if y:\n            return y * 0.5"), False),
        (SOURCE.replace("self.body", "self.head"), False),
    ],
)
def test_comments_docstrings_and_layout_do_not_count(edited, same):
    assert edited != SOURCE
    assert (without_comments(edited) == without_comments(SOURCE)) == same


def test_a_line_moved_into_a_block_counts():
    inside = "if a:\n    b()\n    c()\n"
    outside = "if a:\n    b()\nc()\n"
    assert without_comments(inside) != without_comments(outside)


def test_an_f_string_counts_as_its_text():
    """Python 3.12 reads f-strings in parts: their text must come out as it's written."""
    assert "{x:.2f}" in without_comments('print(f"{x:.2f} of  {y}")')


def test_a_class_made_in_a_notebook_is_read_too(tmp_path):
    """IPython keeps the source of a cell, but before Python 3.13 not where a class begins."""
    cell = """
from torch import nn

class Net(nn.Module):
    def forward(self, x):
        return x * {factor}
"""
    script = """
import sys
from IPython.core.interactiveshell import InteractiveShell
from course_lib.fingerprints import model_identity
shell = InteractiveShell.instance()
for cell in sys.argv[1:]:
    shell.run_cell(cell)
    print(model_identity(shell.user_ns["Net"]()))
"""
    factors = ("0.5", "0.5  # half", "0.1")
    cells = [cell.replace("{factor}", factor) for factor in factors]
    done = subprocess.run(
        [sys.executable, "-c", script, *cells], capture_output=True, text=True, check=True
    )
    half, commented, tenth = done.stdout.splitlines()
    assert half.startswith("Net") and half == commented != tenth


class Base(nn.Sequential):
    def forward(self, x):
        return super().forward(x)


class OtherBase(nn.Sequential):
    def forward(self, x):
        return super().forward(x) if not self.training else super().forward(x) * 0.5


def inheriting(base):
    return type("Net", (base,), {})(*conv_model())


def with_class_attribute(scale):
    return network(forward=lambda self, x: nn.Sequential.forward(self, x) * self.scale, scale=scale)


def with_property(scale):
    return network(
        forward=lambda self, x: nn.Sequential.forward(self, x) * self.scale,
        scale=property(scale),
    )


def frozen(model):
    model[0].requires_grad_(False)
    return model


def with_buffer(value):
    model = network()
    model.register_buffer("noise", torch.tensor(value), persistent=False)
    return model


def with_function(function):
    model = network(forward=lambda self, x: self.act(nn.Sequential.forward(self, x)))
    model.act = function
    return model


def attention(dropout):
    return nn.Sequential(nn.MultiheadAttention(8, 2, dropout=dropout))


EDITS_OF_NEW_MODELS = EDITS | {
    "a base class, in training only": (lambda: inheriting(Base), lambda: inheriting(OtherBase)),
    "a class attribute": (lambda: with_class_attribute(1), lambda: with_class_attribute(2)),
    "a property": (
        lambda: with_property(lambda self: 1),
        lambda: with_property(lambda self: 2),
    ),
    "a frozen layer": (network, lambda: frozen(network())),
    "a buffer that isn't saved": (lambda: with_buffer(1.0), lambda: with_buffer(2.0)),
    "a function": (lambda: with_function(torch.tanh), lambda: with_function(torch.relu)),
    "an option that repr leaves out": (lambda: attention(0.1), lambda: attention(0.2)),
}


class Times:
    """An object that's called."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return x * self.factor

    def method(self, x):
        return x * self.factor


def wrapped(factor):
    @functools.wraps(torch.tanh)
    def wrapper(x):
        return torch.tanh(x) * factor

    return wrapper


def enclosing(value):
    return lambda x: value(x)


PLACES = {
    "a public attribute": with_function,
    "a private attribute": lambda value: with_private(value),
    "a closure": lambda value: with_function(enclosing(value)),
    "a global": lambda value: with_global(value, "use(y)"),
    "a global in a lambda": lambda value: with_global(value, "(lambda z: use(z))(y)"),
    "a global in a comprehension": lambda value: with_global(value, "[use(z) for z in y]"),
    "a forward hook": lambda value: hooked("register_forward_hook", value),
    "a forward pre-hook": lambda value: hooked("register_forward_pre_hook", value),
    "a backward hook": lambda value: hooked("register_full_backward_hook", value),
}
VALUES = {
    "an object": Times,
    "a bound method": lambda factor: Times(factor).method,
    "a partial": lambda factor: functools.partial(torch.mul, other=factor),
    "a decorated function": wrapped,
    "an array": lambda factor: np.full(3, factor),
    "a tensor": lambda factor: torch.full((3,), factor),
    "a dict": lambda factor: {"factor": [factor]},
    "a set": lambda factor: {factor},
    "a layer that isn't registered": lambda factor: (nn.LeakyReLU(factor),),
    "a data class": lambda factor: replace(Options(), factor=factor),
    "a queue": lambda factor: collections.deque([factor]),
    "a function under torch.no_grad": lambda factor: torch.no_grad()(enclosing(factor)),
    "a function under torch.autocast": lambda factor: torch.autocast("cpu")(enclosing(factor)),
    "a cached function": lambda factor: functools.cache(enclosing(factor)),
    "a dict of a class of yours": lambda factor: a_kind_of(dict, factor),
    "a list of a class of yours": lambda factor: a_kind_of(list, factor),
}


def a_kind_of(container, factor):
    """An object of a class that adds a method to a container."""
    return type("Mine", (container,), {"scale": lambda self: factor})()


@dataclass
class Options:
    factor: float = 0.0


def with_private(value):
    model = network()
    model._value = value
    return model


def with_global(value, line):
    names = {"use": value, "nn": nn}
    lines = ["def forward(self, x):", "y = nn.Sequential.forward(self, x)", line, "return y"]
    exec("\n    ".join(lines), names)
    return network(forward=names["forward"])


def hooked(register, value):
    model = network()
    getattr(model[0], register)(value)
    return model


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", VALUES)
def test_whatever_a_network_uses_is_part_of_a_trial(place, kind):
    digests = []
    for factor in (0.5, 0.5, 0.25):
        torch.manual_seed(0)
        digests.append(new_model_identity(PLACES[place](VALUES[kind](factor))))
    half, again, quarter = digests
    assert half == again != quarter


def test_a_gradients_hook_is_part_of_a_trial():
    model = network()
    before = new_model_identity(model)
    model[0].weight.register_hook(lambda gradient: 0 * gradient)
    assert new_model_identity(model) != before


@pytest.mark.parametrize("place", PLACES)
def test_what_cannot_be_described_has_no_identity(place):
    with pytest.raises(NotDescribed, match="generator"):
        new_model_identity(PLACES[place](number for number in range(3)))


MODULE = """
from torch import nn

OPTIONS = {"a set": {"x", "y", "z"}}


class Net(nn.Linear):
    def forward(self, x):
        return super().forward(x) * FACTOR + len(OPTIONS)
"""


def test_a_file_that_was_edited_but_not_imported_again_is_not_what_is_computed(
    tmp_path, monkeypatch
):
    file = tmp_path / "my_net_of_a_test.py"
    file.write_text(MODULE.replace("FACTOR", "1.0"))
    monkeypatch.syspath_prepend(tmp_path)
    import my_net_of_a_test  # pyright: ignore[reportMissingImports]

    def identity():
        torch.manual_seed(0)
        return new_model_identity(my_net_of_a_test.Net(2, 2))

    file.write_text(MODULE.replace("FACTOR", "0.125"))
    stale = identity()
    importlib.invalidate_caches()
    importlib.reload(my_net_of_a_test)
    assert identity() != stale


@pytest.mark.parametrize("is_package", [True, False])
def test_a_function_in_a_module_in_a_module_is_part_of_a_trial(tmp_path, monkeypatch, is_package):
    folder = tmp_path / f"my_blocks_{is_package}"
    (folder / "inner").mkdir(parents=True)
    if is_package:  # and one that knows the outer one
        (folder / "__init__.py").touch()
        (folder / "inner/__init__.py").write_text(f"import {folder.name} as outer")
    file = folder / "inner/acts.py"
    file.write_text("def act(x):\n    return x * 1.0")
    monkeypatch.syspath_prepend(tmp_path)
    acts = importlib.import_module(f"{folder.name}.inner.acts")

    def identity():
        torch.manual_seed(0)
        outer = importlib.import_module(folder.name)
        return new_model_identity(with_global(outer, "use.inner.acts.act(y)"))

    before = identity()
    assert identity() == before
    file.write_text("def act(x):\n    return x * 0.125")
    importlib.reload(acts)
    assert identity() != before


@pytest.mark.parametrize(
    "lines",
    [
        "import my_acts; y = my_acts.act(y)",
        "import my_acts as acts; y = acts.act(y)",
        "from my_acts import act; y = act(y)",
        "from my_acts import act as f; y = (lambda z: f(z))(y)",
    ],
)
def test_what_a_function_imports_while_it_runs_is_part_of_a_trial(tmp_path, monkeypatch, lines):
    file = tmp_path / "my_acts.py"
    file.write_text("def act(x):\n    return x * 1.0")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_acts", raising=False)

    def identity():
        torch.manual_seed(0)
        return new_model_identity(with_global(None, lines))

    with pytest.raises(NotDescribed, match="my_acts"):
        identity()
    acts = importlib.import_module("my_acts")
    before = identity()
    assert identity() == before
    file.write_text("def act(x):\n    return x * 0.125")
    importlib.reload(acts)
    assert identity() != before


def test_every_process_describes_a_network_alike(tmp_path):
    (tmp_path / "my_net.py").write_text(MODULE.replace("FACTOR", "1.0"))
    script = """
import torch
from course_lib.fingerprints import new_model_identity
from my_net import Net
torch.manual_seed(0)
print(new_model_identity(Net(2, 2)))
"""
    printed = set()
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"PYTHONPATH": f"{tmp_path}:{HERE}", "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        printed.add(done.stdout)
    assert len(printed) == 1


@pytest.mark.parametrize("place", PLACES)
def test_a_stage_that_resumes_names_what_has_changed_in_the_network(short, capsys, place):
    """Also what only training uses, or changes the answers too little to be noticed."""

    def model(factor):
        return PLACES[place](Doing(factor))

    train(model(1.0), noise_images(), short.stage(2), augmented=False)
    train(model(1.0), noise_images(), short.stage(2), augmented=False)
    assert "changed" not in capsys.readouterr().out
    train(model(0.9), noise_images(), short.stage(2), augmented=False)
    assert re.search("changed in your network.*start_over", capsys.readouterr().out)


class Doing(Times):
    """Called as a hook or as a function, it returns what does no harm."""

    def __call__(self, *args):
        return args[0] if len(args) == 1 else None


@pytest.mark.parametrize("edit", EDITS_OF_NEW_MODELS)
def test_a_trial_of_an_edited_network_is_another_trial(edit):
    before, after = EDITS_OF_NEW_MODELS[edit]
    torch.manual_seed(0)
    first = new_model_identity(before())
    torch.manual_seed(0)
    assert new_model_identity(before()) == first
    torch.manual_seed(0)
    assert new_model_identity(after()) != first


@pytest.mark.parametrize("name", TRAINING_CODE)
def test_an_edit_of_the_code_that_trains_is_noticed(tmp_path, monkeypatch, name):
    library = tmp_path / "course_lib"
    shutil.copytree(fingerprints.LIBRARY, library)
    monkeypatch.setattr(fingerprints, "LIBRARY", library)

    def digest():
        fingerprints.training_code_digest.cache_clear()
        return fingerprints.training_code_digest()

    try:
        before = digest()
        path = library / name
        source = path.read_text(encoding="utf-8")
        path.write_text(f"# a comment\n{source}", encoding="utf-8")
        assert digest() == before
        path.write_text(f"{source}\nx = 1\n", encoding="utf-8")
        assert digest() != before
    finally:
        fingerprints.training_code_digest.cache_clear()


class Mine:
    def step(self, *anything):
        return anything


@pytest.mark.parametrize("replacement", [Mine, Mine.step, lambda *anything: anything])
@pytest.mark.parametrize(
    "place",
    [
        "course_lib.loops.learning_rate",
        "course_lib.loops.new_optimizer",
        "course_lib.augment.draws.order",
        "course_lib.run.Run.count",
        "course_lib.model.res_block.forward",
        "course_lib.loops.F.cross_entropy",
        "torch.nn.functional.grid_sample",
        "torch.nn.BatchNorm2d.forward",
    ],
)
def test_a_replaced_function_of_the_code_that_trains_is_noticed(monkeypatch, place, replacement):
    """Nothing in its files tells, and the network's weights and answers may be the same."""
    assert not training_code_has_changed()
    with monkeypatch.context() as patch:
        patch.setattr(place, replacement)
        assert training_code_has_changed()
    assert not training_code_has_changed()


def test_a_stage_that_resumes_reports_other_code_of_the_course(short, monkeypatch, capsys):
    with pytest.raises(Stopped):
        train(at_step(conv_model(), 5, press_stop), noise_images(), short.stage(2), augmented=False)
    monkeypatch.setattr(fingerprints, "training_code_digest", lambda: "of another day")
    train(conv_model(), noise_images(), short.stage(2), augmented=False)
    assert re.search("bit-identical.*of another day", capsys.readouterr().out)


def test_a_stage_does_not_continue_on_other_pixels(short):
    images = noise_images()
    train(conv_model(), images, short.stage(2), augmented=False)
    images.pixels[3, 5, 7, 1] ^= 1
    with pytest.raises(CheckpointError, match="pixels"):
        train(conv_model(), images, short.stage(2), augmented=False)


def test_pixels_of_another_decoder_are_reported_not_refused(short, monkeypatch, capsys):
    images = noise_images()
    with pytest.raises(Stopped):
        train(at_step(conv_model(), 5, press_stop), images, short.stage(2), augmented=False)
    images.pixels[3, 5, 7, 1] ^= 1
    for module in ("resume", "fingerprints"):
        monkeypatch.setattr(f"course_lib.{module}.decoder", lambda: "another decoder")
    train(conv_model(), images, short.stage(2), augmented=False)
    assert re.search("bit-identical.*another decoder", capsys.readouterr().out)


@pytest.mark.parametrize("number", [1, 2])
def test_a_stage_says_if_it_begins_with_a_trained_model(short, capsys, number):
    model = conv_model()
    train(model, noise_images(), short.stage(number), augmented=False)
    assert "trained on" not in capsys.readouterr().out
    train(model, noise_images(), short.stage(3 - number), augmented=False)
    assert "trained on" in capsys.readouterr().out


def measured(stage, model):
    history = train(model, stage.images, stage, augmented=False)
    return history, measure(model, stage.course)


def test_figures_of_another_model_or_other_data_are_not_recorded(short):
    stage = short.stage(2)
    model = conv_model()
    history, final = measured(stage, model)
    results = record(stage, model, history, final)
    images = short.data.train
    heldout = short.data.heldout
    inverted = replace(heldout, pixels=255 - heldout.pixels)
    others = replace(heldout, rows=images.rows[: len(heldout)])
    for wrong in (
        {"heldout_plain": evaluate(model, inverted, short)},
        {"heldout_plain": evaluate(model, others, short)},
        {"train_plain": evaluate(conv_model(seed=5), images, short)},
        {"train_plain": evaluate(model, images.take(20), short)},
        {"train_plain": evaluate(model, images, short, augmented=True)},
        {"train_augmented": final["train_plain"]},
        {"heldout_plain": final["train_plain"]},
    ):
        with pytest.raises(CheckpointError, match="stage 2"):
            record(stage, model, history, final | wrong)
    with pytest.raises(CheckpointError, match="stage 2"):
        record(stage, model, history[:-1], final)
    relu_less = conv_model()
    relu_less[2] = nn.Identity()
    relu_less.load_state_dict(model.state_dict())
    with pytest.raises(CheckpointError, match="stage 2"):
        record(stage, relu_less, history, measure(relu_less, short))
    course = short.experiment("other", lr=0.02)
    with pytest.raises(CheckpointError, match="stage 2"):
        record(stage, model, history, measure(model, course))
    assert record(stage, model, history, final)["stages"] == results["stages"]


@given(st.data())
def test_figures_belong_to_these_very_weights(short, data):
    """Also if the same numbers are in other places."""
    model = conv_model()
    before = measured_on(model, short.data.train, False, short)
    with torch.no_grad():
        name, value = data.draw(st.sampled_from(list(model.state_dict().items())))
        flat = value.flatten()
        first, second = data.draw(st.tuples(*2 * [st.integers(0, len(flat) - 1)]))
        order = list(range(len(flat)))
        order[first], order[second] = second, first
        same = torch.equal(flat[order], flat)
        value.copy_(flat[order].reshape(value.shape))
    assert (measured_on(model, short.data.train, False, short) == before) == same


def test_figures_belong_to_a_precision_and_to_what_the_network_computes(short):
    model = conv_model()
    before = measured_on(model, short.data.train, False, short)
    other = replace(short, precision=Precision("bf16", "cpu"))
    assert measured_on(model, short.data.train, False, other) != before
    hook = model.register_forward_hook(lambda module, inputs, output: -output)
    assert measured_on(model, short.data.train, False, short) != before
    hook.remove()
    assert measured_on(model, short.data.train, False, short) == before


def test_each_stage_is_described_once():
    assert [spec.number for spec in STAGES.values()] == list(STAGES)
    assert len({spec.title for spec in STAGES.values()}) == len(STAGES)


def test_looking_at_the_answers_changes_neither_weights_nor_modes(short):
    model = conv_model()
    model[1].eval()
    fingerprints.answers(model, short)
    assert same_weights(model, conv_model())
    assert model.training and not model[1].training
    assert Path(fingerprints.LIBRARY, "model.py").exists()
    assert model_identity(model) == model_identity(conv_model(seed=5))
