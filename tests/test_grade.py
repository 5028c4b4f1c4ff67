"""`make grade`: answers are marked right, whatever else they try, and nothing is hurt."""

import csv
import functools
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap

import nbformat
import pytest

from tools import grade, marker, notebooks
from tools.exercises import solved_version, student_version
from tools.notebooks import as_notebook, as_source, has_tag

ROOT = notebooks.FOLDER.parent
RIGHT = (
    "def my_share(labels, predicted):\n"
    "    wrong = predicted != labels\n"
    "    return (predicted[wrong] % 20 == labels[wrong] % 20).double().mean()\n"
)
WRONG = RIGHT.replace("% 20", "// 20")
STUB = "def my_share(labels, predicted):\n    raise checks.Todo\n"

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs Linux or macOS")


def inside(code):
    """A right answer that first runs this code, each time it's called."""
    return RIGHT.replace("    wrong =", "    " + code.replace("\n", "\n    ") + "\n    wrong =")


FORGERIES = {
    "prints_a_tick": "print('✓ Right.')\n" + STUB.replace("raise checks.Todo", "return 0.5"),
    "replaces_the_check": WRONG + "checks.colour_share = lambda answer: True\n",
    "makes_names_of_its_own": WRONG + "class checks:\n    colour_share = lambda answer: True\n",
    "replaces_what_the_check_calls": WRONG
    + "from course_lib.checks import shares\nshares.compare = lambda *all: None\n",
    "replaces_it_when_called": "def my_share(labels, predicted):\n"
    "    from course_lib.checks import shares\n"
    "    shares.compare = lambda *all: None\n",
    "replaces_code": WRONG + "from course_lib.checks import shares\n"
    "shares.compare.__code__ = (lambda *all: None).__code__\n",
    "widens_the_tolerance": WRONG + "from course_lib.checks import shares\n"
    "shares.compare.__defaults__ = (1e9,)\n",
    "replaces_a_function_of_pytorch": WRONG + "import torch\ntorch.allclose = lambda *all: True\n",
    "replaces_a_method": WRONG + "import torch\n"
    "torch.Tensor.double = lambda it: torch.zeros(it.shape, dtype=torch.float64)\n",
    "hides_a_builtin": RIGHT + "from course_lib.checks import verdict\n"
    "verdict.any = lambda values: False\n",
    "puts_another_module_in_place": WRONG + "import sys, types\n"
    "fake = types.ModuleType('checks')\nfake.colour_share = lambda answer: True\n"
    "sys.modules['course_lib.checks'] = sys.modules['course_lib'].checks = fake\n",
    "writes_to_every_channel": WRONG + "import os\nfor channel in range(3, 30):\n"
    '    try:\n        os.write(channel, b\'["", true, "Right."]\')\n    except OSError:\n'
    "        pass\n",
    "leaves_with_status_0": WRONG + "import os\nos._exit(0)\n",
    "calls_exit": "import sys\nsys.exit(0)\n" + RIGHT,
    "calls_exit_when_called": inside("import sys; sys.exit()"),
    "kills_the_marker": "import os\nos.kill(os.getppid(), 9)\n" + RIGHT,
    "loops_forever": inside("import time\nwhile True: time.sleep(1)"),
    "takes_all_memory": inside("import torch; x = torch.empty(2**30)  # 4 GiB"),
    "opens_a_socket": inside("import socket; socket.create_connection(('127.0.0.1', {port}))"),
    "starts_a_process": inside("import subprocess; subprocess.run(['touch', {victim!r}])"),
    "reads_the_solutions": "text = open({solutions!r}).read()\n" + RIGHT,
    "lists_the_solutions": "import os\nos.listdir({notebooks!r})\n" + RIGHT,
    "imports_the_solutions": "from tools.exercises import solution_of\n" + RIGHT,
    "reads_its_neighbour": "text = open({neighbour!r}).read()\n" + RIGHT,
    "deletes_a_file": inside("import os; os.remove({victim!r})"),
    "deletes_a_folder": inside("import shutil; shutil.rmtree({folder!r})"),
    "writes_elsewhere": "open({victim!r}, 'w').close()\n" + RIGHT,
}
HARMLESS = {
    "right": RIGHT,
    "right_with_magics": "%time\n!pip install torch\n" + RIGHT,
    "right_but_indented": "if True:\n" + textwrap.indent(RIGHT, "    "),
    "right_and_prints_a_gigabyte": "for _ in range(1000):\n    print('x' * 10**6)\n" + RIGHT,
    "right_and_prints_when_called": inside("print('x' * 10**8)"),
    "right_and_deletes_its_own": "import os, shutil\nopen('mine', 'w').close()\n"
    "shutil.rmtree(os.getcwd(), ignore_errors=True)\n"
    "shutil.rmtree(os.path.expanduser('~'), ignore_errors=True)\n" + RIGHT,
}


def source_with(name):
    """The source of the notebook that has this exercise."""
    [stem] = [exercise.notebook for exercise in grade.exercises() if exercise.name == name]
    return notebooks.FOLDER / f"{stem}.py"


@functools.cache
def text_of_the_notebook():
    """The student version of the notebook with `my_share`."""
    return as_notebook(student_version(source_with("colour_share")))


def the_notebook():
    """A copy of that notebook."""
    return nbformat.reads(text_of_the_notebook(), 4)


def write(path, code):
    """Hand in the notebook of `my_share` with this answer, and a cell that mustn't run."""
    notebook = the_notebook()
    for cell in notebook.cells:
        if has_tag(cell, "exercise"):
            cell.source = code
    notebook.cells.insert(0, nbformat.v4.new_code_cell("while True: pass"))
    path.write_text(as_notebook(notebook), encoding="utf-8")


@pytest.fixture(scope="module")
def listener():
    """A server on this machine, whom nobody should call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setblocking(False)
        yield server


@pytest.fixture(scope="module")
def marked(tmp_path_factory, listener):
    """The rows of marks.csv, by file and exercise, for a folder of all kinds of submissions.

    It's marked without the walls that not every system has.
    """
    folder = tmp_path_factory.mktemp("submissions")
    victims = tmp_path_factory.mktemp("victims")
    victim = victims / "victim.txt"
    victim.write_text("precious")
    places = {
        "solutions": str(source_with("colour_share")),
        "notebooks": str(notebooks.FOLDER),
        "neighbour": str(folder / "right.ipynb"),
        "victim": str(victim),
        "folder": str(victims),
        "port": listener.getsockname()[1],
    }
    for name, code in {**FORGERIES, **HARMLESS}.items():
        for place, path in places.items():
            code = code.replace(f"{{{place}!r}}", repr(path)).replace(f"{{{place}}}", str(path))
        write(folder / f"{name}.ipynb", code)
    write(folder / "wrong.ipynb", WRONG)
    write(folder / "stub.ipynb", STUB)
    write(folder / "needs_a_package.ipynb", "import a_package_of_colabs\n" + RIGHT)
    write(folder / "asks_for_help.ipynb", RIGHT + "\nmy_share?\n")
    write(folder / "syntax.ipynb", "def my_share(labels, predicted)\n    return 0\n")
    (folder / "solved").mkdir()
    for source in {source_with(name) for name in grade.POINTS if name != "colour_share"}:
        solved = solved_version(source)
        (folder / "solved" / f"{source.stem}.py").write_text(as_source(solved), encoding="utf-8")
    hand_in_odd_ones(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["grade", str(folder)])
        patch.setattr(grade, "SECONDS", 25.0)
        patch.setattr(marker, "WALLS", ["false"])
        grade.main()
    with pytest.raises(BlockingIOError):
        listener.accept()
    assert victim.read_text() == "precious"
    assert {path: path.read_bytes() for path in before} == before
    with open(folder / "marks.csv", encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["file"], row["exercise"]): row for row in rows}


def hand_in_odd_ones(folder):
    """Submissions that aren't the course's notebook, or not quite."""
    untagged = the_notebook()
    for cell in untagged.cells:
        if has_tag(cell, "exercise"):
            cell.source = STUB
        cell.metadata.pop("tags", None)
    untagged.cells.append(nbformat.v4.new_code_cell(RIGHT))
    (folder / "untagged.ipynb").write_text(as_notebook(untagged), encoding="utf-8")
    below = the_notebook()
    below.cells.append(nbformat.v4.new_code_cell(RIGHT))
    (folder / "in_a_cell_below.ipynb").write_text(as_notebook(below), encoding="utf-8")
    helper = "def are_wrong(labels, predicted):\n    return predicted != labels\n"
    with_helper = RIGHT.replace("predicted != labels", "are_wrong(labels, predicted)")
    for name, codes, last in (
        ("right_after_wrong", [WRONG, RIGHT], ""),
        ("wrong_after_right", [RIGHT, WRONG], ""),
        ("right_below_the_check", [WRONG], RIGHT),
        ("helper_in_another_cell", [helper, with_helper], ""),
    ):
        (folder / f"{name}.ipynb").write_text(in_cells(codes, last), encoding="utf-8")
    missing = student_version(source_with("res_block"))
    missing.cells = [cell for cell in missing.cells if "my_res_block" not in cell.source]
    (folder / "=missing.ipynb").write_text(as_notebook(missing), encoding="utf-8")
    other = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("raise SystemExit")])
    (folder / "other_course.ipynb").write_text(nbformat.writes(other))
    (folder / "broken.ipynb").write_text('{"cells": [')
    (folder / "list.ipynb").write_text("[1]")
    (folder / "deep.ipynb").write_text("[" * 100_000)
    (folder / "numbers.ipynb").write_text('{"nbformat": 4, "nbformat_minor": 5, "cells": [7]}')
    (folder / "picture.ipynb").write_bytes(bytes(range(256)))
    (folder / "script.py").write_text(RIGHT)
    (folder / "link.ipynb").symlink_to(folder / "right.ipynb")
    (folder / ".ipynb_checkpoints").mkdir()
    write(folder / ".ipynb_checkpoints" / "right.ipynb", RIGHT)


def in_cells(codes, last):
    """The notebook with an answer in several cells, the first one tagged, and a last cell."""
    notebook = the_notebook()
    [place] = [number for number, cell in enumerate(notebook.cells) if has_tag(cell, "exercise")]
    notebook.cells[place].source = codes[0]
    more = [nbformat.v4.new_code_cell(code) for code in codes[1:]]
    notebook.cells[place + 1 : place + 1] = more
    notebook.cells.append(nbformat.v4.new_code_cell(last))
    return as_notebook(notebook)


def share_of(marked, name):
    return marked[f"{name}.ipynb", "colour_share"]


@pytest.mark.slow
@pytest.mark.parametrize("name", HARMLESS)
def test_a_right_answer_has_all_points(name, marked):
    row = share_of(marked, name)
    assert row["points"] == row["of"] == str(grade.POINTS["colour_share"])
    assert row["sentence"].startswith("✓")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["untagged", "in_a_cell_below"])
def test_an_answer_is_found_without_its_tag(name, marked):
    assert share_of(marked, name)["sentence"].startswith("✓")


@pytest.mark.slow
@pytest.mark.parametrize("name", FORGERIES)
def test_tricks_have_no_points(name, marked):
    row = share_of(marked, name)
    assert row["points"] == "0" and row["sentence"].startswith("✗")


@pytest.mark.slow
def test_of_several_answers_the_last_one_above_the_check_counts(marked):
    """As when the notebook is run; a person reads what that may be unfair to."""
    assert share_of(marked, "right_after_wrong")["sentence"].startswith("✓")
    for name in ("wrong_after_right", "right_below_the_check", "helper_in_another_cell"):
        row = share_of(marked, name)
        assert row["sentence"].startswith("✗")
        assert bool(row["read"]) == (name != "wrong_after_right")


@pytest.mark.slow
def test_what_isnt_right_is_told_apart(marked):
    marks = {name: share_of(marked, name)["sentence"][0] for name in ("wrong", "stub", "syntax")}
    assert marks == {"wrong": "✗", "stub": "…", "syntax": "✗"}
    assert "motif" in share_of(marked, "wrong")["sentence"]


@pytest.mark.slow
def test_every_solution_of_the_course_has_all_points(marked):
    solved = [row for (file, _), row in marked.items() if file.startswith("solved/")]
    assert {row["exercise"] for row in solved} == set(grade.POINTS) - {"colour_share"}
    for row in solved:
        assert row["points"] == row["of"] != "0", row
        assert not row["read"]


@pytest.mark.slow
def test_an_exercise_that_is_missing_is_named(marked):
    """And a file's name is no formula in the lecturer's spreadsheet."""
    rows = {exercise: row for (file, exercise), row in marked.items() if "missing" in file}
    stem = source_with("res_block").stem
    assert set(rows) == {each.name for each in grade.exercises() if each.notebook == stem}
    assert "my_res_block" in rows["res_block"]["sentence"]
    assert rows["res_block"]["file"].startswith("'=")


BROKEN = ["broken", "list", "deep", "numbers", "picture", "other_course"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["script.py", *(f"{name}.ipynb" for name in BROKEN)])
def test_a_file_that_is_no_notebook_of_the_course_has_a_row(name, marked):
    row = marked[name, ""]
    assert row["points"] == "0" and row["sentence"]


@pytest.mark.slow
def test_links_and_hidden_files_are_left_alone(marked):
    assert not [file for file, _ in marked if "link" in file or "checkpoints" in file]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "replaces_the_check",
        "writes_to_every_channel",
        "reads_the_solutions",
        "needs_a_package",
        "asks_for_help",
        "syntax",
    ],
)
def test_an_answer_with_unusual_means_is_to_be_read(name, marked):
    assert share_of(marked, name)["read"]


def test_walls_hide_folders_and_the_network(tmp_path, listener):
    """From Python's own functions, and from all others."""
    folders = [tmp_path / "two words", tmp_path / "it's $HOME *"]
    for folder in folders:
        folder.mkdir()
        (folder / "solution.py").touch()
    look = (
        "import os, socket, sys\n"
        "for folder in os.environ['HIDDEN'].splitlines():\n    print(os.listdir(folder))\n"
        f"print(socket.socket().connect_ex(('127.0.0.1', {listener.getsockname()[1]})) != 0)\n"
    )
    environment = {**os.environ, "HIDDEN": "\n".join(map(str, folders))}
    command = [*marker.WALLS, sys.executable, "-c", look]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    if "unshare" in done.stderr:
        pytest.skip("unshare isn't allowed")
    assert done.stdout == "[]\n[]\nTrue\n"
    assert all((folder / "solution.py").exists() for folder in folders)


@pytest.fixture
def no_marker(monkeypatch):
    """A function: what it's given happens whenever an answer is marked; nothing is run."""

    class NoMarker:
        walled = True
        mark = staticmethod(lambda *question: (False, "✗"))

        def __init__(self, *arguments):
            pass

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pass

    def when_marking(action):
        NoMarker.mark = staticmethod(lambda *question: action())

    monkeypatch.setattr(grade, "Marker", NoMarker)
    return when_marking


def graded(folder, monkeypatch):
    """The rows of the table after `make grade DIR=folder`."""
    monkeypatch.setattr(sys, "argv", ["grade", str(folder)])
    grade.main()
    [table] = folder.glob("marks*.csv")
    with table.open(encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


ANSWER = "# %%\n" + RIGHT


@pytest.mark.parametrize(
    "name, sentence",
    [
        (os.fsdecode("숙제.py".encode("cp949")), "✗"),
        ("answer.py", "✗ Your code raises ValueError: \ud800"),
        ("answer.py", "✗ \x00 \r\n \U0010ffff"),
    ],
)
def test_no_name_and_no_message_costs_the_others_their_marks(
    tmp_path, monkeypatch, no_marker, name, sentence
):
    no_marker(lambda: (False, sentence))
    for file in (name, "another.py"):
        (tmp_path / file).write_text(ANSWER, encoding="utf-8")
    rows = graded(tmp_path, monkeypatch)
    assert len({row["file"] for row in rows}) == 2 and "another.py" in {row["file"] for row in rows}


def test_what_ends_marking_costs_no_marks_that_were_given_before(tmp_path, monkeypatch, no_marker):
    marked_so_far = []

    def action():
        if marked_so_far:
            raise RuntimeError
        marked_so_far.append(1)
        return True, "✓"

    no_marker(action)
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text(ANSWER)
    with pytest.raises(RuntimeError):
        graded(tmp_path, monkeypatch)
    assert "a.py,colour_share" in (tmp_path / "marks.csv").read_text(encoding="utf-8")


def test_interrupted_marking_names_the_marks_so_far(tmp_path, monkeypatch, no_marker):
    def action():
        raise KeyboardInterrupt

    no_marker(action)
    (tmp_path / "a.py").write_text(ANSWER)
    with pytest.raises(SystemExit, match=r"marks\.csv"):
        graded(tmp_path, monkeypatch)


def test_an_endless_answer_ends_even_if_nobody_is_left_to_end_it(tmp_path):
    program = (
        f"from tools import marking\nmarking.enter({str(tmp_path)!r}, 1.0)\nwhile True:\n    pass\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, timeout=120)
    assert done.returncode == -signal.SIGALRM


def test_a_table_that_cannot_be_written_is_a_sentence_before_anything_is_marked(
    tmp_path, monkeypatch, no_marker
):
    marked = []
    no_marker(lambda: marked.append(1))
    (tmp_path / "a.py").write_text(ANSWER)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(SystemExit, match=r"marks\.csv"):
            graded(tmp_path, monkeypatch)
    assert not marked


@pytest.mark.parametrize("above", ["", "#!/usr/bin/python\n# -*- coding: utf-8 -*-\n", "\n\n"])
@pytest.mark.parametrize("first", ["", "# %%\n", "# %% [markdown]\n# a title\n\n# %%\n"])
def test_a_header_that_would_take_for_ever_is_not_read(tmp_path, above, first):
    """A billion laughs: nine lists of nine lists of nine lists …"""
    lines = ["# ---", "# jupyter:", "#   a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    for number in range(1, 20):
        nine = ", ".join([f"*a{number - 1}"] * 9)
        lines.append(f"#   a{number}: &a{number} [{nine}]")
    lines += ["# ---", ""]
    path = tmp_path / "a.py"
    path.write_text(above + "\n".join(lines) + f"\n{first}my_share = 1\n\n# %%\nlast = 2\n")
    assert [cell.source for cell in grade.code_cells(path)] == ["my_share = 1", "last = 2"]


def test_what_is_not_marked_is_named(tmp_path, monkeypatch, no_marker, capsys):
    for name in ("HW.IPYNB", "OLD.Py", "kim.zip", "lee.ipynb.txt", ".choi.ipynb", "photo.png"):
        (tmp_path / name).write_text(ANSWER)
    (tmp_path / "park.ipynb").symlink_to(tmp_path / "HW.IPYNB")
    (tmp_path / "gone.ipynb").symlink_to(tmp_path / "nowhere")
    (tmp_path / "folder").symlink_to(tmp_path)
    (tmp_path / ".ipynb_checkpoints").mkdir()
    os.mkfifo(tmp_path / "pipe.py")
    rows = graded(tmp_path, monkeypatch)
    marked = {row["file"] for row in rows}
    assert marked == {"HW.IPYNB", "OLD.Py"}
    said = capsys.readouterr().out
    for path in tmp_path.iterdir():
        if path.name not in marked and path.name != "marks.csv":
            assert f"Not marked: '{path.name}'" in said
    assert "Not marked: 'marks.csv'" not in said


def test_marks_that_you_changed_are_kept(tmp_path):
    for expected in ("marks.csv", "marks-2.csv", "marks-3.csv"):
        path = grade.new_file(tmp_path)
        assert path.name == expected
        path.touch()


def test_the_presenters_page_has_the_points_of_every_exercise():
    page = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d\d) \| `(\w+)` \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert {name: int(points) for _, name, _, points in rows} == grade.POINTS
    assert [(notebook, name) for notebook, name, _, _ in rows] == [
        (exercise.notebook[:2], exercise.name) for exercise in grade.exercises()
    ]
