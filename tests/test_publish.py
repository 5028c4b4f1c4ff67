"""What a class needs, on small notebooks of the tests' own: addresses, badges, clean versions."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

from tools import lecture_plan, notebooks, pair, publish
from tools.lecture_plan import Planned
from tools.place import Place, find_place, repository_from

ROOT = Path(__file__).resolve().parent.parent

SETUP = """# %% cellView="form" jupyter={"source_hidden": true} tags=["hide-input"]
# @title Open the course
data = "shapes"
preset = "lecture"
drive = False  # @param {type: "boolean"}
repository = ""  # `make publish` writes owner/name here
ref = ""
course = open_course(data, preset, drive)
"""
TITLE = "# %% [markdown]\n# # {}. A question?\n#\n{}# After the badge.\n"
PLAN = [
    Planned("00", "The end", {45: 1, 90: 2}, "Ask *why*."),
    Planned("01", "The end", {90: 3}, "Wait."),
]
COMMENTED = "".join(f"# {line}\n" for line in publish.UNPUBLISHED.splitlines()) + "#\n"
REST = """
# %% [markdown]
# See the [glossary](glossary.md#loss), [next](01_name.ipynb), [more](../docs/REPORT.md) and
# [a site](https://example.org/a.md).

# %%
6 * 7

# %% tags=["exercise"]
answer = ...

# %% [markdown] tags=["solution"]
# ```python
# answer = 42
# ```

# %% [markdown]
# *In italics.*
#
# ## The end
#
# Of [the first](00_name.ipynb).
"""
README = f"""# Course

```
git clone https://github.com/OWNER/NAME.git course && cd course
```

| notebook | minutes | try it |
|---|---|---|
| [`00_name`](notebooks/00_name.ipynb) | 10 | – |
| [`01_name`](notebooks/01_name.ipynb) | 10 | – |

{publish.MARKER}
Not yet: `make publish`,
says CONTRIBUTING.

Text.
"""


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course's folder: two paired notebooks with outputs, and a README.

    One of the notebooks has no place for the badge.
    """
    folder = tmp_path / "notebooks"
    folder.mkdir()
    monkeypatch.setattr(notebooks, "FOLDER", folder)
    monkeypatch.setattr(lecture_plan, "PLAN", PLAN)
    for number, place in ((0, COMMENTED), (1, "")):
        source = folder / f"0{number}_name.py"
        source.write_text(f"{TITLE.format(number, place)}\n{SETUP}{REST}", encoding="utf-8")
        pair.main([])
        stored = nbformat.read(source.with_suffix(".ipynb"), 4)
        stored.cells[1].execution_count = 1
        stored.cells[3].outputs = [nbformat.v4.new_output("stream", text="42")]
        nbformat.write(stored, source.with_suffix(".ipynb"))
    pair.main([])
    (tmp_path / "data_manifest.json").write_text('{"shapes": {}}', encoding="utf-8")
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    return tmp_path


def has_no_output(cell):
    return not cell.get("outputs") and cell.get("execution_count") is None


def contents(course):
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in course.rglob("*.*")}


def test_the_address_replaces_what_stood_there_and_outputs_stay(course):
    for repository, ref in (("first/one", "main"), ("some-one/My.course_2", "2026-autumn")):
        publish.main([repository, "--ref", ref])
        place = Place(repository, ref)
        for name in ("00_name", "01_name"):
            source = course / "notebooks" / f"{name}.py"
            text = source.read_text(encoding="utf-8")
            stored = nbformat.read(source.with_suffix(".ipynb"), 4)
            assert f'\nrepository = "{repository}"  # `make' in text
            assert f'\nref = "{ref}"\n' in text
            assert place.badges(f"class/{name}.ipynb") in stored.cells[0].source
            assert "After the badge" in text and "MyDrive" not in text
            assert text.count(publish.MARKER) == 1
            assert notebooks.files_agree(source)
            assert stored.cells[1].execution_count == 1
            assert stored.cells[3].outputs[0].text == "42"
    assert not any(b"first/one" in data for data, _ in contents(course).values())


def test_the_readme_has_the_line_to_clone_a_badge_per_notebook_and_the_site(course):
    for repository, site in (
        ("Owner/Name", "https://owner.github.io/Name/"),
        ("o-2/O-2.github.io", "https://o-2.github.io/"),
    ):
        publish.main([repository, "--ref", "v1"])
        lines = (course / "README.md").read_text(encoding="utf-8").splitlines()
        assert f"git clone https://github.com/{repository}.git course && cd course" in lines
        for name in ("00_name", "01_name"):
            badge = Place(repository, "v1").colab_badge(f"class/{name}.ipynb")
            assert f"| [`{name}`](notebooks/{name}.ipynb) | 10 | {badge} |" in lines
        text = "\n".join(lines)
        assert f"<{site}>" in text and "Not yet" not in text
        # What's around all that stays.
        assert len(lines) == len(README.splitlines()) and lines[-1] == "Text."


def test_a_classs_notebook_that_was_edited_is_kept(course, capsys):
    """All of them, the lectures' too; and none that was only published again, elsewhere."""
    publish.main(["first/one", "--ref", "main"])
    edited = {}
    for path in (course / "class").iterdir():
        notebook = nbformat.read(path, 4)
        notebook.cells.append(nbformat.v4.new_markdown_cell(f"My slides in {path.stem}"))
        nbformat.write(notebook, path)
        edited[f"{path.stem}-edited-1.ipynb"] = path.read_bytes()
    for repository in ("first/one", "second/one"):
        publish.main([repository, "--ref", "v1"])
    kept = {path.name: path.read_bytes() for path in (course / "class").glob("*-edited-*")}
    assert kept == edited
    printed = capsys.readouterr().out
    assert all(name in printed for name in kept)


def test_a_checkout_may_be_called_class_itself(course, monkeypatch):
    moved = course.rename(course.with_name("class"))
    monkeypatch.setattr(notebooks, "FOLDER", moved / "notebooks")
    publish.main(["owner/name", "--ref", "main"])
    assert not list(moved.rglob("*-edited-*"))


def test_a_classs_notebook_has_no_output_no_solution_and_links_that_lead_there(course):
    publish.main(["owner/name", "--ref", "v1"])
    stored = nbformat.read(course / "class" / "00_name.ipynb", 4)
    nbformat.validate(stored)
    text = "\n".join(cell.source for cell in stored.cells)
    assert "answer = ..." in text and "answer = 42" not in text
    assert all(has_no_output(cell) for cell in stored.cells)
    for address in (
        "(https://github.com/owner/name/blob/v1/notebooks/glossary.md#loss)",
        "(https://colab.research.google.com/github/owner/name/blob/v1/class/01_name.ipynb)",
        "(https://github.com/owner/name/blob/v1/docs/REPORT.md)",
        "(https://example.org/a.md)",
    ):
        assert address in text
    assert "github/owner/name/blob/v1/class/00_name.ipynb" in stored.cells[0].source
    assert 'ref = "v1"' in text


def test_a_lecture_is_published_with_one_setup_and_badges_of_its_own(course):
    publish.main(["owner/name", "--ref", "v1"])
    for length, notebooks_in_it in ((45, 1), (90, 2)):
        name = f"class/lecture-{length}.ipynb"
        stored = nbformat.read(course / name, 4)
        nbformat.validate(stored)
        text = "\n".join(cell.source for cell in stored.cells)
        assert text.count("## The end") == notebooks_in_it
        assert text.count('ref = "v1"') == text.count(publish.MARKER) == 1
        assert f"github/owner/name/blob/v1/{name}" in stored.cells[0].source
        assert "blob/v1/class/00_name.ipynb" in text
        assert "answer" not in text and "In italics" not in text
        assert all(has_no_output(cell) for cell in stored.cells)


@pytest.mark.parametrize(
    "planned",
    [("01", "The beginning"), ("02", "The end"), ("00", "Twice")],
    ids=lambda part: part[0],
)
def test_a_plan_that_the_notebooks_do_not_fit_stops_before_anything_is_written(
    planned, course, monkeypatch
):
    damage(course, "notebooks/00_name.py", "# ## The end", "# ## Twice\n#\n# ## Twice")
    pair.main([])
    notebook, heading = planned
    monkeypatch.setattr(lecture_plan, "PLAN", [Planned(notebook, heading, {45: 1}, "")])
    before = contents(course)
    with pytest.raises(SystemExit, match=notebook):
        publish.main(["owner/name", "--ref", "main"])
    assert contents(course) == before


def test_finished_networks_are_offered_in_the_form_only_if_there_are_some(course):
    publish.main(["owner/name", "--ref", "main"])
    paths = [*course.glob("notebooks/*"), *course.glob("class/*")]
    assert len(paths) == 8
    before = contents(course)
    assert not any(b"finished" in path.read_bytes() for path in paths)
    damage(course, "data_manifest.json", "{}", '{"finished": {"lecture": {}}}')
    publish.main(["owner/name", "--ref", "main"])
    offered = contents(course)
    publish.main(["owner/name", "--ref", "main"])
    assert contents(course) == offered
    for path in paths:
        assert (
            path.read_text(encoding="utf-8").count("use_finished_networks = False  # @param") == 1
        )
        assert (
            "open_course(data, preset, drive, finished=use_finished_networks)" in path.read_text()
        )
    damage(course, "data_manifest.json", '{"finished": {"lecture": {}}}', "{}")
    publish.main(["owner/name", "--ref", "main"])
    assert [text for text, _ in contents(course).values()] == [text for text, _ in before.values()]


def test_publishing_twice_or_pairing_afterwards_touches_no_file(course):
    publish.main(["owner/name", "--ref", "main"])
    before = contents(course)
    publish.main(["owner/name", "--ref", "main"])
    pair.main([])
    assert contents(course) == before


@pytest.mark.parametrize(
    "address",
    [
        "owner/name",
        " owner/name\n",
        "https://github.com/owner/name",
        "https://github.com/owner/name.git",
        "http://www.github.com/owner/name/",
        "github.com/owner/name",
        "git@github.com:owner/name.git",
        "ssh://git@github.com/owner/name.git",
        "https://me@github.com/owner/name.git/",
        "https://GitHub.com/owner/name?tab=readme-ov-file#notebooks",
        "https://github.com/owner/name/tree/some/branch",
        "https://github.com/owner/name/blob/main/README.md",
    ],
)
def test_an_address_is_taken_as_people_paste_it(address):
    assert repository_from(address) == "owner/name"


INCOMPLETE = ["owner", "owner/", "/name", "a/b/c", "https://gitlab.com/a/b", "https://github.com/a"]
NO_OWNER = ["-a/b", "a-/b", "a--b/c", "a_b/c", "a b/c", "é/b", "--help", f"{'a' * 40}/b"]
NO_NAME = ["a/..", "a/.", "a/b\n/", 'a/"', "a/é", "a/b;c", f"a/{'b' * 101}"]


@pytest.mark.parametrize("address", INCOMPLETE + NO_OWNER + NO_NAME)
def test_what_github_would_refuse_is_refused(address, course):
    before = contents(course)
    with pytest.raises(ValueError, match="GitHub"):
        find_place(address, "main")
    assert contents(course) == before


@pytest.mark.parametrize("address", ["a/b", f"{'a' * 39}/{'b' * 100}", "A-1/.github", "0/_-."])
def test_what_github_allows_is_allowed(address, course):
    publish.main([address, "--ref", "main"])


@pytest.mark.parametrize("ref", ["-x", "a b", "a;b", "a..b", "$(x)", 'a"', "a\nb", "é", "x" * 101])
def test_a_ref_that_a_shell_could_misread_is_refused(ref):
    with pytest.raises(ValueError, match="branch or a tag"):
        find_place("owner/name", ref)


def git(folder, *command):
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    done = subprocess.run(
        ["git", *identity, *command], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


def start_git(folder, branch):
    git(folder, "init", "--initial-branch", branch)
    git(folder, "remote", "add", "origin", "git@github.com:from/git.git")


def test_git_knows_the_address_and_the_branch(course):
    with pytest.raises(SystemExit, match="REF="):
        publish.main([])
    git(course, "init", "--initial-branch", "trunk")
    with pytest.raises(SystemExit, match="REPO="):
        publish.main([])
    start_git(course, "trunk")
    assert find_place("", "") == Place("from/git", "trunk")
    publish.main([])
    assert 'ref = "trunk"' in (course / "notebooks" / "00_name.py").read_text(encoding="utf-8")


def test_a_repository_that_the_course_is_only_a_folder_of_is_not_published(course):
    """The links would lead to its top, where no notebook is."""
    start_git(course.parent, "main")
    before = contents(course)
    with pytest.raises(SystemExit, match="REF="):
        publish.main([])
    with pytest.raises(SystemExit, match="REPO="):
        publish.main(["--ref", "main"])
    assert contents(course) == before


@pytest.mark.parametrize(
    "origin, replaced, by",
    [
        ("https://github.com/from/git.git", "https://github.com/", "file:///a/server/of/mine/"),
        ("gh:from/git", "gh:", "https://github.com/"),
    ],
)
def test_an_address_that_git_replaces_is_the_one_on_github(origin, replaced, by, course):
    start_git(course, "main")
    git(course, "remote", "set-url", "origin", origin)
    git(course, "config", f"url.{by}.insteadOf", replaced)
    assert find_place("", "").repository == "from/git"


def test_only_what_links_can_lead_to_is_published(course):
    """Another branch doesn't get this commit; and without a branch, nothing can be pushed."""
    start_git(course, "main")
    git(course, "add", ".")
    git(course, "commit", "-m", "the course")
    git(course, "branch", "2026-autumn")
    git(course, "update-ref", "refs/remotes/origin/theirs", "HEAD")
    for ref in ("2026-autumn", "theirs"):
        with pytest.raises(ValueError, match=f"git switch {ref}"):
            find_place("", ref)
    git(course, "switch", "2026-autumn")
    assert find_place("", "").ref == "2026-autumn"
    git(course, "switch", "--detach")
    for ref in ("", "v1"):
        with pytest.raises(ValueError, match="branch"):
            find_place("", ref)


def run_what_is_printed(course, ref, printed):
    for line in printed.splitlines():
        if line.startswith("    git "):
            for command in line.split(" && "):
                git(course, *shlex.split(command)[1:])


def run_the_workflows_last_step(course, ref, printed):
    workflow = yaml.safe_load((ROOT / ".github/workflows/publish.yml").read_text(encoding="utf-8"))
    script = workflow["jobs"]["publish"]["steps"][-1]["run"]
    script = f"gh() {{ false; }}\n{script}"  # GitHub isn't asked for anything
    environment = os.environ | {"BRANCH": "main", "CHOSEN": ref}
    subprocess.run(["bash", "-ec", script], cwd=course, env=environment, check=True)


@pytest.mark.parametrize("ref", ["main", "2026-autumn"])
@pytest.mark.parametrize("push", [run_what_is_printed, run_the_workflows_last_step])
def test_everything_gets_to_where_the_links_lead(push, ref, course, tmp_path, capsys):
    """Twice, because the course is published again after finished networks were offered."""
    server = tmp_path / "server.git"
    git(tmp_path, "init", "--bare", "--initial-branch", "main", str(server))
    start_git(course, "main")
    git(course, "remote", "set-url", "--push", "origin", str(server))
    (course / ".gitignore").write_text("server.git\n")
    git(course, "add", ".")
    git(course, "commit", "-m", "the course")
    git(course, "push", "--set-upstream", "origin", "main")
    for offered in ("{}", '{"finished": {"lecture": {}}}'):
        manifest = f'{{"shapes": {offered}}}'
        (course / "data_manifest.json").write_text(manifest, encoding="utf-8")
        capsys.readouterr()
        publish.main(["--ref", ref])
        push(course, ref, capsys.readouterr().out)
        assert git(course, "status", "--porcelain") == ""
        assert git(server, "show", f"{ref}:data_manifest.json") == manifest
        assert f'ref = \\"{ref}\\"' in git(server, "show", f"{ref}:class/00_name.ipynb")
        assert f"blob/{ref}/class" in git(server, "show", "main:README.md")


def test_it_needs_no_pytorch():
    program = "import sys, tools.publish; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def damage(course, name, old, new):
    path = course / name
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


@pytest.mark.parametrize(
    "name, old, new, paired",
    [
        ("notebooks/01_name.py", "6 * 7", "6 * 8", False),  # the .ipynb doesn't know yet
        ("notebooks/01_name.py", "repository =", "address =", True),
        ("notebooks/01_name.py", "\nref =", "\nbranch =", True),
        ("README.md", publish.MARKER, "", True),
        ("README.md", "Text.", publish.MARKER, True),
        ("README.md", "git clone", "git fetch", True),
        ("README.md", "01_name", "02_name", True),
        ("README.md", "Text.", "| [`00_name`](notebooks/00_name.ipynb) | 10 | – |", True),
    ],
)
def test_nothing_is_written_if_something_is_missing(name, old, new, paired, course):
    damage(course, name, old, new)
    if paired:
        pair.main([])
    before = contents(course)
    with pytest.raises(SystemExit, match=name.partition("/")[2].partition(".")[0] or name):
        publish.main(["owner/name", "--ref", "main"])
    assert contents(course) == before


def test_the_unpublished_paragraph_names_no_address():
    assert publish.PARAGRAPH.fullmatch(publish.UNPUBLISHED) and "http" not in publish.UNPUBLISHED
