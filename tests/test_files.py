"""Files that are whole or absent, sealed against damage, and that never cost anybody else's."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from course_lib import CheckpointError, DiskError
from course_lib.storage.files import read_sealed, write_sealed

texts = st.text(st.characters(exclude_categories=()))  # lone surrogates, too: odd file names
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
    max_leaves=10,
)


@given(value=values)
def test_what_is_sealed_is_read_back_as_json_has_it(tmp_path, value):
    write_sealed(tmp_path / "sealed.json", value)
    expected = json.loads(json.dumps(value))
    assert repr(read_sealed(tmp_path / "sealed.json")) == repr(expected)  # nan != nan


def test_numbers_as_keys_and_tuples_are_sealed(tmp_path):
    write_sealed(tmp_path / "sealed.json", {10: (1, 2), 9: "고양이 é"})
    assert read_sealed(tmp_path / "sealed.json") == {"10": [1, 2], "9": "고양이 é"}
    assert "고양이 é" in (tmp_path / "sealed.json").read_text(encoding="utf-8")


@given(data=st.data())
def test_a_changed_value_is_noticed(tmp_path, data):
    """Every single bit that's flipped: either it's an error, or it reads back as before."""
    path = tmp_path / "sealed.json"
    content = {"accuracy": 0.71, "loss": [1.25, float("nan")], "classes": ["고양이", "é"]}
    write_sealed(path, content)
    damaged = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(damaged) - 1))
    damaged[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(damaged)
    try:
        assert repr(read_sealed(path)) == repr(content)
    except CheckpointError as error:
        assert "sealed.json" in str(error)
    path.unlink()


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "null", "3", '"sha256"', "{}", '{"sha256": 1}', '{"content": 1}']
    + ['{"sha256": "0", "content": 1}', "[" * 100_000, "\ufeff{}", "1" * 5000],
    ids=lambda text: repr(text[:30]),
)
def test_what_is_not_sealed_is_an_error_that_names_the_file(tmp_path, text):
    (tmp_path / "sealed.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"sealed\.json"):
        read_sealed(tmp_path / "sealed.json")
    (tmp_path / "sealed.json").write_bytes(b"\xff\xfe\0")
    with pytest.raises(CheckpointError, match=r"sealed\.json"):
        read_sealed(tmp_path / "sealed.json")


def test_a_missing_sealed_file_is_missing_and_a_folder_cannot_be_read(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_sealed(tmp_path / "sealed.json")
    (tmp_path / "sealed.json").mkdir()
    with pytest.raises(DiskError, match=r"sealed\.json"):
        read_sealed(tmp_path / "sealed.json")
