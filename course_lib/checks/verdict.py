"""What all checks share: the sentence, the marks ✓ ✗ …, and the comparison with typical
mistakes."""

from __future__ import annotations

import functools
import numbers
import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, ParamSpec

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import CourseError

Answers = ParamSpec("Answers")
Verdict = bool | None  # right, wrong, or not done yet

SEED = 0  # of all examples; `make grade` draws another one, so that no answer can know them


class Todo(Exception):
    """Raised by an exercise that isn't done yet."""


class Wrong(Exception):
    """Raised by a check, with the sentence that says what is wrong."""


class Mistake(NamedTuple):
    """A typical mistake: the answer it leads to, and the sentence that explains it."""

    gives: Tensor | float
    sentence: str


def check(judge: Callable[Answers, str]) -> Callable[Answers, Verdict]:
    """Make a check of a judge, a function of the exercise's answers.

    A judge returns a sentence if the answers are right, and raises Wrong with another if they
    aren't. The check prints the sentence, and returns True, False, or None for not done yet.
    """

    @functools.wraps(judge)
    def checked(*answers: Answers.args, **named: Answers.kwargs) -> Verdict:
        try:
            if any(answer is ... for answer in answers):
                raise Todo
            with undisturbed():
                sentence = judge(*answers, **named)
        except Todo:
            print(
                "… Not done yet: write your answer in the exercise's cell, run it, "
                "and then run this one again."
            )
            return None
        except Wrong as wrong:
            print("✗", wrong)
            return False
        except CourseError:  # ■ was pressed, say, or the disk is full
            raise
        except Exception as error:  # whatever your code raises
            message = " ".join(str(error).split())
            print(f"✗ Your code raises {type(error).__name__}: {message}")
            return False
        print("✓", sentence)
        return True

    return checked


@contextmanager
def undisturbed() -> Iterator[None]:
    """Begin with the same random numbers each time, and undo what an answer changes globally.

    A check that's run again comes to the same verdict, and nothing else in the notebook notices it.
    """
    python_state = random.getstate()
    numpy_state = np.random.get_state()
    dtype = torch.get_default_dtype()
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        random.seed(SEED)
        np.random.seed(SEED)
        # torch.manual_seed would seed the CUDA devices as well.
        torch.default_generator.manual_seed(SEED)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)
            np.random.set_state(numpy_state)
            random.setstate(python_state)


def examples() -> torch.Generator:
    """Where a check's examples come from: random numbers that no answer can influence."""
    return torch.Generator().manual_seed(SEED)


def refuse(is_wrong: bool | Tensor, sentence: str) -> None:
    """Raise Wrong with this sentence if it applies."""
    if is_wrong:
        raise Wrong(sentence)


def compare(
    answer: object,
    right: Tensor | float,
    mistakes: Iterable[Mistake],
    hint: str,
    tolerance: float = 1e-4,
) -> None:
    """Raise Wrong unless `answer` is as close to `right` as `tolerance`, absolute or relative.

    The sentence is that of the mistake which leads to this answer. If none does, it tells how far
    off the answer is, and gives the hint.
    """
    mine = as_tensor(answer)
    right = torch.as_tensor(right).detach().double()
    if right.ndim == 0 and mine.numel() == 1:  # a number in brackets
        mine = mine.reshape(())
    refuse(
        mine.shape != right.shape,
        f"Your shape is {tuple(mine.shape)}, not {tuple(right.shape)}: {hint}.",
    )
    if is_close(mine, right, tolerance):
        return
    for mistake in mistakes:
        refuse(is_close(mine, torch.as_tensor(mistake.gives), tolerance), mistake.sentence)
    if mine.ndim == 0:
        raise Wrong(f"You get {mine:.4g}, not {right:.4g}: {hint}.")
    off = (mine - right).abs().max()
    raise Wrong(f"You get the right shape, but numbers off by up to {off:.2g}: {hint}.")


def is_close(mine: Tensor, other: Tensor, tolerance: float) -> bool:
    """Shapes agree, and numbers agree to within `tolerance`, absolute or relative."""
    other = other.detach().double()
    return mine.shape == other.shape and torch.allclose(mine, other, tolerance, tolerance)


def same_state(mine: nn.Module, ours: nn.Module) -> bool:
    """Weights and running averages are equal."""
    my_state = mine.state_dict()
    equal = [torch.equal(my_state[name].cpu(), value) for name, value in ours.state_dict().items()]
    return all(equal)


def as_tensor(answer: object) -> Tensor:
    """An answer in numbers as float64 on the CPU: of PyTorch, NumPy or Python, of any shape."""
    refuse(answer is None, "Your function returns None: is a `return` missing?")
    refuse(answer is ..., "Your function returns ...: put your answer there.")
    if isinstance(answer, Tensor):
        return answer.detach().cpu().double()
    kind = type(answer).__name__
    refuse(isinstance(answer, str), f"Your function returns a {kind}, not a number.")
    try:
        return torch.from_numpy(np.array(answer, dtype=np.float64))
    except (TypeError, ValueError):
        raise Wrong(f"Your function returns a {kind}, not a number.") from None


def as_number(answer: object) -> float | None:
    """The number in text or in a scalar of Python, NumPy or PyTorch; None if it isn't a number."""
    answer = without_brackets(answer)
    if isinstance(answer, str):
        try:
            return float(answer)
        except ValueError:
            return None
    if isinstance(answer, Tensor | np.ndarray) and answer.ndim == 0:
        answer = answer.item()
    if isinstance(answer, numbers.Real) and not isinstance(answer, bool):
        return float(answer)
    return None


def without_brackets(answer: object) -> object:
    """What is in a list, tuple, set or array of one: `41,` and `["c"]` mean 41 and "c"."""
    if isinstance(answer, Tensor | np.ndarray):
        answer = answer.tolist()
    if isinstance(answer, list | tuple | set | frozenset) and len(answer) == 1:
        return without_brackets(next(iter(answer)))
    return answer
