"""The repository's address in setup cells and badges, on small notebooks of the tests' own."""

import nbformat
import pytest

from tools import notebooks, pair, publish

SETUP = """# %% cellView="form"
# @title Get the course
repository = ""  # `make publish` writes owner/name here
"""
TITLE = "# %% [markdown]\n# # {}. A question?\n#\n{}# After the badge.\n"
COMMENTED = "".join(f"# {line}\n" for line in publish.UNPUBLISHED.splitlines()) + "#\n"
LINK = "(https://colab.research.google.com/github/{}/blob/main/notebooks/{}.ipynb)"


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course's folder: two paired notebooks with outputs, and a README.

    One of the notebooks has no place for the badge.
    """
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(notebooks, "FOLDER", folder)
    for number, place in ((0, COMMENTED), (1, "")):
        source = folder / f"0{number}_name.py"
        source.write_text(
            f"{TITLE.format(number, place)}\n{SETUP}\n# %%\n6 * 7\n", encoding="utf-8"
        )
        pair.main([])
        stored = nbformat.read(source.with_suffix(".ipynb"), 4)
        stored.cells[1].execution_count = 1
        stored.cells[2].outputs = [nbformat.v4.new_output("stream", text="42")]
        nbformat.write(stored, source.with_suffix(".ipynb"))
    pair.main([])
    readme = (
        f"# Course\n\n{publish.MARKER}\nNot yet: `make publish`,\nsays CONTRIBUTING.\n\nText.\n"
    )
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    return tmp_path


def contents(course):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in course.rglob("*.*")}


def test_the_address_replaces_what_stood_there_and_outputs_stay(course):
    before = (course / "README.md").read_text(encoding="utf-8")
    for repository in ("first/one", "some-one/My.course_2"):
        publish.main([repository])
        for name in ("00_name", "01_name"):
            source = course / "notebooks" / f"{name}.py"
            text = source.read_text(encoding="utf-8")
            stored = nbformat.read(source.with_suffix(".ipynb"), 4)
            assert f'\nrepository = "{repository}"  # `make' in text
            assert f"# {publish.MARKER}\n# {publish.BADGE}{LINK.format(repository, name)}\n" in text
            assert "After the badge" in text
            assert "MyDrive" not in text
            assert text.count(publish.MARKER) == 1
            assert notebooks.files_agree(source)
            assert stored.cells[1].execution_count == 1
            assert stored.cells[2].outputs[0].text == "42"
        readme = (course / "README.md").read_text(encoding="utf-8")
        badge = f"{publish.MARKER}\n{publish.BADGE}{LINK.format(repository, '00_name')}\n"
        assert readme == before.replace(
            f"{publish.MARKER}\nNot yet: `make publish`,\nsays CONTRIBUTING.\n", badge
        )
    assert not any(b"first/one" in data for data, _ in contents(course).values())


def test_publishing_twice_or_pairing_afterwards_touches_no_file(course):
    publish.main(["owner/name"])
    before = contents(course)
    publish.main(["owner/name"])
    pair.main([])
    assert contents(course) == before


INCOMPLETE = ["", "owner", "owner/", "/name", "a/b/", "https://github.com/a/b"]
NO_OWNER = ["-a/b", "a-/b", "a--b/c", "a_b/c", "a b/c", "é/b", "--help", f"{'a' * 40}/b"]
NO_NAME = ["a/..", "a/.", "a/b.git", "a/b\n", 'a/"', "a/é", "a/b;c", f"a/{'b' * 101}"]


@pytest.mark.parametrize("address", INCOMPLETE + NO_OWNER + NO_NAME)
def test_what_github_would_refuse_is_refused(address, course):
    before = contents(course)
    with pytest.raises(ValueError, match="owner/name"):
        publish.publish(address)
    assert contents(course) == before


@pytest.mark.parametrize("address", ["a/b", f"{'a' * 39}/{'b' * 100}", "A-1/.github", "0/_-."])
def test_what_github_allows_is_allowed(address, course):
    publish.main([address])


def damage(course, name, old, new):
    path = course / name
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    "name, old, new, paired",
    [
        ("notebooks/01_name.py", "6 * 7", "6 * 8", False),  # the .ipynb doesn't know yet
        ("notebooks/01_name.py", "repository =", "address =", True),
        ("README.md", publish.MARKER, "", True),
        ("README.md", "Text.", publish.MARKER, True),
    ],
)
def test_nothing_is_written_if_something_is_missing(name, old, new, paired, course):
    damage(course, name, old, new)
    if paired:
        pair.main([])
    before = contents(course)
    with pytest.raises(SystemExit, match=name.partition("/")[2].partition(".")[0] or name):
        publish.main(["owner/name"])
    assert contents(course) == before


def test_the_unpublished_paragraph_names_no_address():
    assert publish.PARAGRAPH.fullmatch(publish.UNPUBLISHED) and "http" not in publish.UNPUBLISHED
