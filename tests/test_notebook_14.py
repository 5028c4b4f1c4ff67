"""Notebook 14 on a reader's own pictures: what it finds, what stays sealed, what it ends with."""

import csv
import runpy

import pytest
from data_sets import class_folders, write_folder
from test_notebooks import ROOT
from test_notebooks_own_data import OF_THE_DRAWN_IMAGES

from course_lib import submit


@pytest.mark.slow
def test_it_ends_with_a_claim_once_you_are_sure(environment, tmp_path, capsys):
    contents = class_folders({"cat": 10, "dog": 11})
    contents["dog/copy.png"] = contents["dog/0.png"]
    environment(DATA=write_folder(tmp_path / "pets", contents), PRESET="smoke")
    names = runpy.run_path(ROOT / "notebooks" / "14_your_own_photographs.py")
    printed = capsys.readouterr().out
    project = names["project"]
    assert "more than once in the same part: 1" in printed and "copy.png" in printed
    assert "Still sealed" in printed
    assert not (project.folder / "submissions.json").exists()
    assert not OF_THE_DRAWN_IMAGES.findall(printed)
    for figure in ("classes.png", "curves.png", "confusion.png", "idea.png"):
        assert (project.folder / figure).stat().st_size > 0
    sealed = project.data.sealed
    assert len(sealed) >= 2 and not set(sealed.names) & set(names["training"].names)
    claim = submit(project, names["mine"], names["control"], model=names["idea"], student="Kim")
    assert (claim.sealed_images, claim.seeds, claim.opened) == (len(sealed), 3, 1)
    with open(project.folder / "board.csv", encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file)
    assert row["student"] == "Kim" and row["data"] == "pets"
