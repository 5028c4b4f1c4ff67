"""Running small notebooks, and writing their pairs."""

import errno
import itertools
import os
import signal
import sys

import jupytext
import nbformat
import pytest

from course_lib import open_course
from course_lib.live import EPOCH_DATA
from tools import exercises, notebooks, pair, reproduce
from tools.place import Place
from tools.publish import published_notebook

WIDGET = {"application/vnd.jupyter.widget-view+json": {"model_id": "1"}, "text/plain": "  0%|"}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder in place of `notebooks/`.

    Returns a function that writes a source there from its cells.
    """
    place = tmp_path / "notebooks"
    place.mkdir()
    monkeypatch.setattr(notebooks, "FOLDER", place)

    def write(name, *cells):
        text = "\n\n".join(f"# %%\n{cell}" for cell in cells) + "\n"
        (place / name).write_text(text, encoding="utf-8")
        return place / name

    return write


@pytest.fixture
def smoke(environment, tmp_path):
    """The smallest preset in an empty home; returns the run's folder."""
    environment(PRESET="smoke")
    return tmp_path / "home" / "shapes-smoke"


def outputs(path):
    return [cell.get("outputs", []) for cell in nbformat.read(path, 4).cells]


def test_an_executed_notebook_keeps_results_and_no_leftovers(folder, tmp_path, capsys):
    source = folder(
        "00_small.py",
        "import sys\nfrom tqdm.auto import tqdm",
        "print('before')\nfor _ in tqdm(range(3)):\n    print('×', end='', flush=True)\nprint()",
        "print('a warning', file=sys.stderr)",
        "import ipywidgets\nipywidgets.IntSlider()",
        "6 * 7",
    )
    reproduce.execute(source, tmp_path / "executed.ipynb")
    nothing, printed, warning, slider, value = outputs(tmp_path / "executed.ipynb")
    assert [output.text for output in printed] == ["before\n×××\n"]
    assert not nothing + warning + slider
    assert value[0].data["text/plain"] == "42"
    text = (tmp_path / "executed.ipynb").read_text(encoding="utf-8")
    assert "widget" not in text.lower().replace("ipywidgets", "")
    assert "before\n×××" in capsys.readouterr().out


@pytest.mark.parametrize("on_a_terminal", [True, False])
def test_a_progress_bar_is_shown_on_a_terminal(
    on_a_terminal, folder, tmp_path, monkeypatch, capsys
):
    source = folder(
        "00_bar.py", "from tqdm.auto import tqdm\nfor _ in tqdm(range(1234)):\n    pass"
    )
    monkeypatch.setattr(sys.stdout, "isatty", lambda: on_a_terminal)
    reproduce.execute(source, tmp_path / "executed.ipynb")
    assert ("1,234 of 1,234" in capsys.readouterr().out) == on_a_terminal


LIVE = f"""
from IPython.display import display

def curve(stage, epoch):
    text = f"stage {{stage}}, epoch {{epoch}}!"
    told = {{"stage": stage, "epoch": epoch, "epochs": 2, "text": text}}
    return {{"{EPOCH_DATA}": told, "text/plain": "a curve"}}

for stage in (2, 3):
    handle = display(curve(stage, 1), raw=True, display_id=True)
    for epoch in (1, 1, 2, 2):
        handle.update(curve(stage, epoch), raw=True)
"""


def test_a_live_curve_prints_a_line_per_epoch_and_leaves_no_data(folder, tmp_path, capsys):
    reproduce.execute(folder("00_live.py", LIVE), tmp_path / "executed.ipynb")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.endswith("!")]
    assert lines == [
        "stage 2, epoch 1!",
        "stage 2, epoch 2!",
        "stage 3, epoch 1!",
        "stage 3, epoch 2!",
    ]
    [curves] = outputs(tmp_path / "executed.ipynb")
    assert [output.data for output in curves] == [{"text/plain": "a curve"}] * 2


def test_a_cell_that_fails_is_named_and_what_ran_is_kept(folder, tmp_path):
    source = folder(
        "00_bad.py",
        "print('ran')",
        "import course_lib\nraise course_lib.DataError('answer.json, row 812')",
        "1",
    )
    with pytest.raises(reproduce.NotebookFailed, match="00_bad.py.*DataError.*row 812"):
        reproduce.execute(source, tmp_path / "executed.ipynb")
    first, second, third = outputs(tmp_path / "executed.ipynb")
    assert first[0].text == "ran\n"
    assert not third
    assert second[0].traceback == ["DataError: answer.json, row 812"]  # the sentence only


def test_ctrl_c_interrupts_the_cell_that_runs(folder, tmp_path):
    stop = (
        f"import os, signal, time\nos.kill({os.getpid()}, signal.SIGINT)\n"
        "while True:\n    time.sleep(0.1)"
    )
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(reproduce.NotebookFailed, match="KeyboardInterrupt"):
        reproduce.execute(folder("00_long.py", stop), tmp_path / "executed.ipynb")
    assert signal.getsignal(signal.SIGINT) is before


def test_a_dead_kernel_is_reported(folder, tmp_path):
    with pytest.raises(reproduce.NotebookFailed, match="00_dead.py"):
        reproduce.execute(
            folder("00_dead.py", "import os\nos._exit(9)"), tmp_path / "executed.ipynb"
        )


@pytest.mark.parametrize(
    "chosen, ran", [([], {"00_a", "06_b"}), (["--notebooks", "06,10"], {"06_b", "10_c"})]
)
def test_reproduce_runs_what_is_chosen(chosen, ran, folder, smoke):
    for name in ("00_a", "06_b", "10_c", "06_b-Copy1"):
        folder(f"{name}.py", "1")
    reproduce.main(chosen)
    assert {path.stem for path in (smoke / "notebooks").iterdir()} == ran


@pytest.mark.parametrize("chosen", [[], ["--notebooks", "00,09"]])
def test_reproduce_without_a_notebook_fails(chosen, folder, smoke):
    if chosen:
        folder("00_a.py", "1")
    with pytest.raises(SystemExit) as stopped:
        reproduce.main(chosen)
    assert str(notebooks.FOLDER) in str(stopped.value)
    assert not smoke.exists()


def test_fresh_forgets_the_run(folder, smoke):
    folder("00_a.py", "1")
    trials = open_course().unfinished_trials
    (trials / "lr-0.1").mkdir(parents=True)
    for name in ("stage-2/measured.json", "results.json", "notebooks/02_old.ipynb"):
        (smoke / name).parent.mkdir(parents=True, exist_ok=True)
        (smoke / name).write_text('{"stages": {}}')
    reproduce.main([])
    assert (smoke / "results.json").exists()
    reproduce.main(["--fresh"])
    assert not trials.exists()
    left = {path.relative_to(smoke).as_posix() for path in smoke.rglob("*") if path.is_file()}
    assert left == {"run.json", "notebooks/00_a.ipynb", "notebooks/02_old.ipynb"}


def test_a_wrong_setting_is_one_sentence(folder, environment, tmp_path):
    folder("00_a.py", "1")
    environment(DATA=tmp_path / "nowhere")
    with pytest.raises(SystemExit, match="^DataError: .*nowhere"):
        reproduce.main([])


def test_pair_keeps_outputs_of_unchanged_cells_only(folder):
    source = folder("00_a.py", "1 + 1", "'same'", "'same'", "'changed'")
    pair.main([])
    stored = source.with_suffix(".ipynb")
    notebook = nbformat.read(stored, 4)
    for number, cell in enumerate(notebook.cells):
        cell.execution_count = number + 1
        cell.outputs = [
            nbformat.v4.new_output("stream", text=f"{number}, "),
            nbformat.v4.new_output("display_data", WIDGET),
            nbformat.v4.new_output("stream", name="stderr", text="warning"),
            nbformat.v4.new_output("stream", text="said"),
        ]
        cell.id = f"id-{number}"  # JupyterLab's, not ours
    notebook.metadata.widgets = {"state": {}}
    nbformat.write(notebook, stored)
    source.write_text(
        source.read_text(encoding="utf-8").replace("changed", "änders"), encoding="utf-8"
    )
    pair.main([])
    notebook = nbformat.read(stored, 4)
    assert [[output.text for output in cell.outputs] for cell in notebook.cells] == [
        ["0, said"],
        ["1, said"],
        ["2, said"],
        [],
    ]
    assert notebook.cells[3].source == "'änders'"
    assert "widgets" not in notebook.metadata
    assert len({cell.id for cell in notebook.cells}) == 4


def test_pairing_twice_changes_nothing_and_touches_no_file(folder):
    source = folder("00_a.py", "1 + 1", "x = '×'")
    pair.main([])
    files = [source, source.with_suffix(".ipynb")]
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in files]
    pair.main([])
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in files] == before


def test_pair_takes_the_outputs_of_an_executed_run(folder, smoke):
    source = folder("00_a.py", "6 * 7")
    later = folder("10_c.py", "1")  # isn't run, so it keeps what it has
    pair.main([])
    reproduce.main([])
    pair.main(["--executed"])
    assert outputs(source.with_suffix(".ipynb"))[0][0].data["text/plain"] == "42"
    assert jupytext.read(source).cells[0].source == "6 * 7"
    assert outputs(later.with_suffix(".ipynb")) == [[]]


def test_check_names_the_pairs_that_differ_and_writes_nothing(folder):
    same, edited = folder("00_a.py", "1 + 1"), folder("01_b.py", "1 + 1")
    pair.main([])
    pair.main(["--check"])
    edited.write_text(edited.read_text(encoding="utf-8") + "\n# %%\n2\n", encoding="utf-8")
    alone = folder("02_c.py", "1")
    before = {path: path.read_bytes() for path in same.parent.iterdir()}
    with pytest.raises(SystemExit) as stopped:
        pair.main(["--check"])
    for source in (edited, alone):
        assert source.stem in str(stopped.value)
    assert same.stem not in str(stopped.value)
    assert {path: path.read_bytes() for path in same.parent.iterdir()} == before


def test_a_picture_pasted_into_a_notebook_is_not_in_its_py_so_the_pair_differs(folder):
    """Whoever pairs or publishes it without a word would lose the picture."""
    source = folder("00_a.py", "1 + 1")
    source.write_text(source.read_text() + "\n# %% [markdown]\n# ![a](attachment:a.png)\n")
    pair.main([])
    pair.main(["--check"])
    path = source.with_suffix(".ipynb")
    notebook = nbformat.read(path, 4)
    notebook.cells[-1].attachments = {"a.png": {"image/png": "aGk="}}
    nbformat.write(notebook, path)
    with pytest.raises(SystemExit, match="00_a"):
        pair.main(["--check"])
    with pytest.raises(ValueError, match="00_a"):
        published_notebook(source, Place("owner/name", "main"))


def test_what_is_written_goes_through_no_link_and_leaves_nothing_behind(tmp_path, monkeypatch):
    mine = tmp_path / "mine.txt"
    mine.write_text("precious")
    (tmp_path / ".02_a.ipynb.tmp").symlink_to(mine)
    (tmp_path / "02_a.ipynb").symlink_to(mine)
    notebooks.write_text(tmp_path / "02_a.ipynb", "new")
    assert mine.read_text() == "precious"
    assert (tmp_path / "02_a.ipynb").read_text() == "new"
    before = sorted(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space"):
            notebooks.write_text(tmp_path / "02_a.ipynb", "newer")
    assert sorted(tmp_path.iterdir()) == before


def full(*arguments):
    raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("tool", [lambda: pair.main([]), exercises.main])
def test_a_full_disk_is_a_sentence(folder, tool, monkeypatch):
    folder("00_a.py", "1 + 1")
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(SystemExit, match="No space"):
        tool()


DAMAGED_NOTEBOOKS = [b"", b"{", b"\xff", b"[]", b"null", b'{"cells": 5}', b"[" * 200_000, "cut"]


@pytest.mark.parametrize("damage", DAMAGED_NOTEBOOKS, ids=lambda damage: str(damage)[:15])
def test_a_damaged_notebook_is_named_and_written_anew(tmp_path, monkeypatch, capsys, damage):
    from tools import notebooks, pair

    (tmp_path / "04_torn.py").write_text("# %%\nprint(1)\n")
    monkeypatch.setattr(notebooks, "FOLDER", tmp_path)
    pair.main([])
    stored = tmp_path / "04_torn.ipynb"
    whole = stored.read_bytes()
    if damage == "cut":
        damage = whole[: len(whole) // 2]
    stored.write_bytes(damage)
    with pytest.raises(SystemExit, match="04_torn"):
        pair.main(["--check"])
    assert stored.read_bytes() == damage
    pair.main([])
    assert "04_torn.ipynb" in capsys.readouterr().out
    assert stored.read_bytes() == whole
    pair.main(["--check"])


def edit_a_cell(cells):
    cells[0].source += "\nMINE"


def delete_a_cell(cells):
    del cells[0]


def move_a_cell(cells):
    cells.append(cells.pop(0))


def tag_a_cell(cells):
    cells[0].metadata["slideshow"] = {"slide_type": "skip"}


def turn_a_cell_into_text(cells):
    cells[0] = nbformat.v4.new_markdown_cell(cells[0].source, id=cells[0].id)


def run_in_jupyter(path):
    """Save a notebook with an output and what Jupyter notes, but no cell edited."""
    notebook = nbformat.read(path, 4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [nbformat.v4.new_output("stream", text="42")]
            cell.metadata["execution"] = {}
    nbformat.write(notebook, path)


EDITS = [edit_a_cell, delete_a_cell, move_a_cell, tag_a_cell, turn_a_cell_into_text]


@pytest.mark.parametrize(
    "derived, edit",
    [("executed", delete_a_cell), *itertools.product(["student", "solutions"], EDITS)],
)
def test_a_derived_notebook_is_kept_if_it_was_edited_and_only_then(
    derived, edit, folder, tmp_path, capsys
):
    """Jupyter keeps the ids of cells, whatever becomes of them."""
    source = folder("00_small.py", "x = 1", "6 * 7", "6 * 7")
    path = tmp_path / "build" / derived / "00_small.ipynb"

    def derive():
        if derived == "executed":
            reproduce.execute(source, path)
        else:
            exercises.main()

    for _ in range(2):
        derive()
        run_in_jupyter(path)
    notebook = nbformat.read(path, 4)
    edit(notebook.cells)
    nbformat.write(notebook, path)
    edited = path.read_bytes()
    derive()
    path.write_bytes(b"damaged")
    derive()
    kept = {found.name: found.read_bytes() for found in path.parent.glob("*-edited-*")}
    assert kept == {"00_small-edited-1.ipynb": edited, "00_small-edited-2.ipynb": b"damaged"}
    printed = capsys.readouterr().out
    assert all(name in printed for name in kept)
    assert "MINE" not in path.read_text(encoding="utf-8")
