"""Randomness is a pure function of (seed, stage, epoch, image)."""

import random

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from course_lib.data import draws

seeds = st.integers(0, 2**63 - 1)
stages, epochs, samples = st.integers(0, 5), st.integers(0, 2**32), st.integers(0, 2**40)


@given(seeds, stages, epochs, st.lists(samples, min_size=1, max_size=5), st.integers(1, 50))
def test_an_images_uniforms_do_not_depend_on_the_images_around_it(
    seed, stage, epoch, several, count
):
    together = draws.uniforms(seed, stage, epoch, several, count)
    assert (
        together.shape == (len(several), count) and (0 <= together).all() and (together < 1).all()
    )
    for sample, row in zip(several, together):
        assert (draws.uniforms(seed, stage, epoch, [sample], count)[0] == row).all()


@given(st.tuples(seeds, stages, epochs, samples), st.integers(0, 3), st.integers(0, 5))
def test_every_seed_stage_epoch_and_image_draws_something_else(key, which, value):
    other = (*key[:which], value, *key[which + 1 :])
    first, second = (
        draws.uniforms(seed, stage, epoch, [sample], 43)[0]
        for seed, stage, epoch, sample in (key, other)
    )
    assert (first != second).sum() >= 42 or key == other
    orders = [draws.order(*key[:3], 100).tolist() for key in (key, other)]
    assert (orders[0] != orders[1]) == (key[:3] != other[:3])


@given(seeds, stages, epochs, st.integers(0, 300))
def test_an_order_is_a_permutation_and_always_the_same(seed, stage, epoch, count):
    order = draws.order(seed, stage, epoch, count)
    assert sorted(order) == list(range(count)) and order.dtype == np.int64
    assert (order == draws.order(seed, stage, epoch, count)).all()


@given(st.tuples(seeds, stages, epochs, samples, st.integers(0, 64)), st.integers(0, 4))
def test_every_step_of_every_process_has_a_seed_of_its_own(key, which):
    other = (*key[:which], key[which] + 1, *key[which + 1 :])
    assert draws.seed_of_step(*key) == draws.seed_of_step(*key)
    assert draws.seed_of_step(*key) != draws.seed_of_step(*other)
    torch.Generator().manual_seed(draws.seed_of_step(*key))


def test_uniforms_are_uniform():
    """10,000 images' first draws and one image's 10,000 draws: both fill [0, 1) evenly, and aren't
    correlated."""
    for drawn in (
        draws.uniforms(0, 3, 1, range(10_000), 2).T,
        draws.uniforms(0, 3, 1, [7, 8], 10_000),
    ):
        counts = np.stack([np.histogram(row, 10, (0, 1))[0] for row in drawn])
        assert (abs(counts - 1000) < 150).all()  # five standard deviations
        assert abs(np.corrcoef(drawn)[0, 1]) < 0.05


def test_the_global_random_state_is_neither_used_nor_changed():
    found = []
    for seed in (1, 2):
        random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)
        before = (
            random.getstate(),
            np.random.get_state()[1].tolist(),
            torch.get_rng_state().tolist(),
        )
        found.append(
            (draws.order(0, 2, 1, 50).tolist(), draws.uniforms(0, 2, 1, [3, 4], 5).tolist())
        )
        assert before == (
            random.getstate(),
            np.random.get_state()[1].tolist(),
            torch.get_rng_state().tolist(),
        )
    assert found[0] == found[1]
