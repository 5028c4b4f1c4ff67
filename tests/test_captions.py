"""Names in figures: short, and never the same for classes that have different names."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib.captions import short, short_names
from course_lib.data.shapes import NAMES

AS_A_MAC_SPELLS_IT = "\u1100\u1169\u110b\u1163\u11bc"
WIDE = "고양이"  # as wide as six letters

# Names with commas, folders, numbers and long beginnings in common
parts = st.sampled_from(
    ["cat", "cats", "2: cat", "a rather long name", WIDE * 3, "x" * 30, "1", ""]
)
likely_names = st.builds(
    lambda some, between: between.join(some),
    st.lists(parts, min_size=1, max_size=4),
    st.sampled_from([", ", "/", " ", "_", "\n"]),
)
any_names = st.text(st.sampled_from(string.ascii_lowercase[:3] + " ,/…고"), max_size=30)


def width(text):
    return len(text) + sum("가" <= letter <= "힣" for letter in text)


@given(name=st.text(max_size=40), length=st.integers(2, 30))
def test_a_short_name_is_short(name, length):
    result = short(name, length)
    assert len(result) <= length and "\n" not in result
    assert result == short(result, length)


def test_a_name_that_fits_stays_whole_and_wide_letters_count_twice():
    assert short("apple, red", 16) == "apple, red"
    assert short("goldfish, Carassius auratus") == "goldfish"
    assert short("animals/mammals/cats/tabby") == "tabby"
    assert short("x" * 30, 20) == "x" * 19 + "…"
    assert short(AS_A_MAC_SPELLS_IT) == "고양"  # composed, or its parts would be side by side
    assert short("고" * 30, 20) == "고" * 9 + "…"
    assert short("고" * 10, 20) == "고" * 10


@given(
    names=st.lists(likely_names | any_names, unique=True, max_size=12), length=st.integers(8, 20)
)
def test_names_are_short_and_no_two_are_alike(names, length):
    captions = short_names(names, length)
    assert len(set(captions)) == len(captions) == len(names)
    assert all(0 < width(caption) <= length for caption in captions)


@pytest.mark.parametrize(
    "names, captions",
    [
        (["goldfish, Carassius auratus", "tench, Tinca"], ["goldfish", "tench"]),
        (["apple, red", "apple, green", "pear, P."], ["apple, red", "apple, green", "pear"]),
        (["apple", "apple, red"], ["apple", "apple, red"]),
        (["animals/cat/tabby", "animals/dog/poodle"], ["tabby", "poodle"]),
        (["tame mammals/cat", "wild mammals/cat"], ["tame mammals/cat", "wild mammals/cat"]),
        (["a/long/way/down/cat", "a/long/way/up/cats/cat"], ["down/cat", "cats/cat"]),
        (["crane", "owl", "crane"], ["0: crane", "owl", "2: crane"]),
        (["2: owl", "owl", "owl"], ["0: 2: owl", "1: owl", "2: owl"]),
    ],
)
def test_what_tells_classes_apart_is_kept(names, captions):
    assert short_names(names, 16) == captions


@pytest.mark.parametrize(
    "name",
    [
        "a rather long name of class {}",
        "{}, the class of a rather long name",
        "a rather long name of class {}, which is twice as long as it should be",
        "folder/a rather long name of class {}, which is twice/as long as it should be",
        "x" * 30 + "{}" + "y" * 30,
        "고양이강아지토끼곰고양이강아지토끼곰{}고양이강아지토끼곰",
    ],
)
def test_what_differs_in_long_names_is_seen(name):
    classes = ["17", "18", "35"]
    captions = short_names([name.format(number) for number in classes], 16)
    for number, caption in zip(classes, captions, strict=True):
        assert number in caption


def test_generated_classes_keep_their_names():
    assert short_names(NAMES) == list(NAMES)


def test_thousands_of_names_are_different():
    names = [f"objects/kind {i % 37}/a rather long name of things, number {i}" for i in range(3000)]
    assert len(set(short_names(names, 13))) == 3000
