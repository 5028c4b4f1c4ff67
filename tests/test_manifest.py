"""The manifest: the repository's own, typos, and whatever else a file can hold."""

import json

import pytest
from data_sets import report_files, write_folder
from hypothesis import given
from hypothesis import strategies as st

from course_lib import manifest, open_bank, open_course
from course_lib.errors import DataError, SettingsError

GOOD = {
    "title": "t",
    "licence": "l",
    "terms": "t",
    "source": "s",
    "classes": 80,
    "train": 1,
    "heldout": 0,
    "image_size": [64, 64],
    "layout": "tiny-imagenet",
    "archive": {"file": "a.zip", "bytes": 1, "md5": "0" * 32, "mirrors": ["https://example.org/a.zip"]},
}


def check(entry, tmp_path):
    path = tmp_path / "data_manifest.json"
    path.write_text(json.dumps({"mine": entry}))
    return manifest.read_manifest(path)["mine"]


def test_the_repositorys_manifest_has_the_four_data_sets():
    entries = manifest.read_manifest()
    assert list(entries) == ["shapes", "cifar100-80", "tiny-imagenet-80", "folder"]
    cifar, tiny = entries["cifar100-80"], entries["tiny-imagenet-80"]
    assert (cifar["train"], cifar["heldout"], cifar["image_size"]) == (40_000, 8_000, [32, 32])
    assert (tiny["train"], tiny["heldout"], tiny["image_size"]) == (40_000, 4_000, [64, 64])
    assert cifar["archive"]["md5"] == "eb9058c3a382ffc7106e4002c42a8d85"
    assert tiny["archive"]["md5"] == "90528d7ca1a48142e341f4ef8d21d0de"
    assert "non-commercial" in tiny["terms"]


def test_a_good_entry_passes(tmp_path):
    assert check(GOOD, tmp_path) == GOOD


def without(key):
    return {name: value for name, value in GOOD.items() if name != key}


def archive(**changes):
    return GOOD | {"archive": GOOD["archive"] | changes}


@pytest.mark.parametrize(
    "entry, words",
    [
        (GOOD | {"licens": "MIT"}, "'licens'; did you mean 'licence'"),
        (without("terms"), "'terms' is missing"),
        (without("archive"), "'archive' is missing"),
        (without("heldout"), "'heldout' is missing"),
        (GOOD | {"classes": "80"}, "'classes' should be a whole number from 1 to 80"),
        (GOOD | {"classes": 81}, "'classes'"),
        (GOOD | {"classes": True}, "'classes'"),
        (GOOD | {"train": 0}, "'train'"),
        (GOOD | {"image_size": 64}, r"'image_size' should be \[width, height\]"),
        (GOOD | {"layout": "tiny"}, "'layout' should be one of generated, report"),
        (GOOD | {"layout": ["report"]}, "'layout'"),
        (GOOD | {"title": " "}, "'title'"),
        (archive(md5="xyz"), "'archive': 'md5' should be an MD5 sum"),
        (archive(md5="0" * 31 + "G"), "'md5'"),
        (archive(file="../a.zip"), "'file' should be a file's name"),
        (archive(file="/etc/a.zip"), "'file'"),
        (archive(bytes=0), "'bytes'"),
        (archive(mirrors="https://example.org"), "'mirrors' should be a list"),
        (archive(mirrors=["file:///etc/passwd"]), "'mirrors'"),
        (archive(md="0"), "'md'; did you mean 'md5'"),
        ([], "should be an object"),
        (GOOD | {"archive": []}, "'archive'"),
        (GOOD | {"checksums": {"answer": "0" * 64}}, "'answer'; did you mean 'answer.json'"),
    ],
)
def test_a_typo_is_named_with_its_entry_and_key(tmp_path, entry, words):
    with pytest.raises(DataError, match=words) as failure:
        check(entry, tmp_path)
    assert "data_manifest.json, 'mine'" in str(failure.value)


def test_an_archive_needs_a_checksum(tmp_path):
    entry = archive()
    del entry["archive"]["md5"]
    with pytest.raises(DataError, match="'sha256'"):
        check(entry, tmp_path)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff\xfe\xff", b"[]", b"{}", b"[" * 100_000, b"null", b'{"a": 1e999}'])
def test_what_is_no_manifest_is_refused(tmp_path, text):
    (tmp_path / "m.json").write_bytes(text)
    with pytest.raises(DataError, match="m.json"):
        manifest.read_manifest(tmp_path / "m.json")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


keys, archive_keys = st.sampled_from([*GOOD, "checksums", "other"]), st.sampled_from(sorted(GOOD["archive"]))


@given(key=keys, value=json_values, inner=archive_keys)
def test_fuzzed_entries_pass_or_are_named(tmp_path_factory, key, value, inner):
    for entry in (GOOD | {key: value}, GOOD | {"archive": GOOD["archive"] | {inner: value}}, value):
        try:
            check(entry, tmp_path_factory.mktemp("fuzz"))
        except DataError as error:
            assert "mine" in str(error)


@given(text=st.binary(max_size=200))
def test_fuzzed_files_are_refused(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("fuzz") / "m.json"
    path.write_bytes(text)
    with pytest.raises(DataError):
        manifest.read_manifest(path)


# ---- names of data sets


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COURSE_PRESET", "smoke")
    return tmp_path / "home"


@pytest.mark.parametrize("name", ["cifar-100", "nothing like it", "folder", "x" * 5000, "../nowhere"])
def test_a_name_that_does_not_exist_says_which_do(home, name):
    with pytest.raises((DataError, SettingsError), match="shapes, cifar100-80, tiny-imagenet-80"):
        open_bank(open_course(name))
    assert not home.exists()  # nothing written


def test_a_near_miss_is_guessed(home):
    with pytest.raises(DataError, match="did you mean 'cifar100-80'"):
        open_bank(open_course("cifar100"))


def test_a_folder_with_an_entry_is_compared_with_its_checksums(home, tmp_path, monkeypatch):
    """An entry as `describe` prints it for a folder: the answers' SHA-256, and exact counts."""
    import hashlib

    files = report_files(train=6)
    sum_ = hashlib.sha256(files["answer.json"]).hexdigest()
    entry = without("archive") | {"layout": "report", "train": 6, "checksums": {"answer.json": sum_}}
    monkeypatch.setattr(manifest, "MANIFEST", tmp_path / "data_manifest.json")
    check(entry, tmp_path)
    with pytest.raises(DataError, match="put it as"):
        open_bank(open_course("mine"))
    folder = write_folder(home / "data" / "mine", files)
    assert open_bank(open_course("mine")).train.classes
    (folder / "answer.json").write_bytes(files["answer.json"].replace(b"2", b"3"))
    with pytest.raises(DataError, match="answer.json is another one"):
        open_bank(open_course("mine"))
