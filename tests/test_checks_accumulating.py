"""course_lib/checks/accumulating.py: right answers pass, and each typical mistake is explained."""

import pytest
import torch
import torch.nn.functional as F
from test_checks import judged, verdict
from torch import nn

from course_lib import checks
from course_lib.checks import verdict as verdicts

assert verdict  # a fixture


def accumulate(weight=lambda part, parts, count: part / count, clear=True, reduction="mean"):
    """An answer that multiplies each part's loss by a weight."""

    def my_gradients(model, parts):
        sizes = [len(labels) for _, labels in parts]
        if clear:
            model.zero_grad()
        for images, labels in parts:
            loss = F.cross_entropy(model(images), labels, reduction=reduction)
            (loss * weight(len(labels), sizes, sum(sizes))).backward()

    return my_gradients


def divided_at_the_end(model, parts):
    model.zero_grad(set_to_none=False)
    for images, labels in parts:
        nn.CrossEntropyLoss(reduction="sum")(model(images), labels).backward()
    for weight in model.parameters():
        weight.grad /= sum(len(labels) for _, labels in parts)


def with_autograd(model, parts):
    """Without backward(): computes gradients, adds them up, then puts them into place."""
    weights = list(model.parameters())
    totals = [torch.zeros_like(weight) for weight in weights]
    count = 0
    for images, labels in parts:
        loss = F.cross_entropy(model(images), labels, reduction="sum")
        for total, gradient in zip(totals, torch.autograd.grad(loss, weights)):
            total += gradient
        count += len(labels)
    for weight, total in zip(weights, totals):
        weight.grad = total / count


def with_an_optimizer(model, parts):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.zero_grad()
    count = sum(labels.numel() for _, labels in parts)
    while parts:
        images, labels = parts.pop()
        (-model(images).log_softmax(1)[range(len(labels)), labels].sum() / count).backward()


def looking_first(model, parts):
    with torch.no_grad():
        for images, _ in parts:
            model(images)
    accumulate()(model, parts)


@judged(
    [
        ("shares of the mean", accumulate()),
        ("sums / count", accumulate(lambda part, parts, count: 1 / count, reduction="sum")),
        ("divided at the end", divided_at_the_end),
        ("torch.autograd.grad", with_autograd),
        ("an optimizer that clears, the list used up", with_an_optimizer),
        ("a pass without gradients first", looking_first),
    ]
)
def test_gradients_may_be_accumulated_in_any_way(answer, verdict):
    assert verdict(checks.accumulation, answer).startswith("✓")


def cleared_in_the_loop(model, parts):
    count = sum(len(labels) for _, labels in parts)
    for images, labels in parts:
        model.zero_grad()
        (F.cross_entropy(model(images), labels) * len(labels) / count).backward()


def cleared_in_the_loop_unweighted(model, parts):
    for images, labels in parts:
        model.zero_grad()
        F.cross_entropy(model(images), labels).backward()


def first_part(model, parts):
    model.zero_grad()
    for images, labels in parts:
        F.cross_entropy(model(images), labels).backward()
        return


def all_at_once(model, parts):
    model.zero_grad()
    images = torch.cat([images for images, _ in parts])
    labels = torch.cat([labels for _, labels in parts])
    F.cross_entropy(model(images), labels).backward()


def one_backward_at_the_end(model, parts):
    model.zero_grad()
    count = sum(len(labels) for _, labels in parts)
    losses = [F.cross_entropy(model(images), labels, reduction="sum") for images, labels in parts]
    (sum(losses) / count).backward()


def in_training_mode(model, parts):
    model.train()
    accumulate()(model, parts)
    model.eval()


def left_in_training_mode(model, parts):
    accumulate()(model, parts)
    model.train()


def with_a_step(model, parts):
    accumulate()(model, parts)
    torch.optim.SGD(model.parameters(), lr=0.1).step()


def returned(model, parts):
    loss = F.cross_entropy(model(parts[0][0]), parts[0][1])
    return torch.autograd.grad(loss, list(model.parameters()))


def one_weight_forgotten(model, parts):
    accumulate()(model, parts)
    model[0].bias.grad.zero_()


MISTAKES = [
    ("mean of means", accumulate(lambda part, parts, count: 1 / len(parts)), "weight each part"),
    ("sum of means", accumulate(lambda part, parts, count: 1), "their sum"),
    ("sum", accumulate(lambda part, parts, count: 1, reduction="sum"), "over all images"),
    ("sum, weighted", accumulate(lambda part, parts, count: part), "over all images"),
    (
        "as large as the first",
        accumulate(lambda part, parts, count: part / (parts[0] * len(parts))),
        "as large as the first",
    ),
    (
        "divided twice",
        accumulate(lambda part, parts, count: part / count / len(parts)),
        "number of parts",
    ),
    ("last part", cleared_in_the_loop, "last part"),
    ("last part, unweighted", cleared_in_the_loop_unweighted, "last part"),
    ("first part", first_part, "first part"),
    ("old gradients", accumulate(clear=False), "from before"),
    ("all at once", all_at_once, "at once"),
    ("one backward", one_backward_at_the_end, "inside the loop"),
    ("training mode", in_training_mode, "training mode"),
    ("left in training mode", left_in_training_mode, "training mode"),
    ("a step", with_a_step, "weights"),
    ("no backward", lambda model, parts: None, "backward"),
    ("returned", returned, "no gradient"),
    ("something else", accumulate(lambda part, parts, count: 0.3), "of its length off"),
    ("one weight forgotten", one_weight_forgotten, "of its length off"),
    ("nan", accumulate(lambda part, parts, count: float("nan")), "nan"),
]


@judged(MISTAKES)
def test_a_mistake_in_the_accumulation_is_explained(answer, word, verdict):
    line = verdict(checks.accumulation, answer)
    assert line.startswith("✗") and word in line


@pytest.mark.parametrize("seed", range(1, 6))
def test_other_examples_give_the_same_verdicts(seed, verdict, monkeypatch):
    """`make grade` draws others."""
    monkeypatch.setattr(verdicts, "SEED", seed)
    for answer in (accumulate(), divided_at_the_end, with_autograd):
        assert verdict(checks.accumulation, answer).startswith("✓")
    for _, answer, word in MISTAKES:
        line = verdict(checks.accumulation, answer)
        assert line.startswith("✗") and word in line
