"""The benchmark runs from beginning to end and leaves nothing behind.

What it measures doesn't matter here.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

BENCH = Path(__file__).resolve().parent.parent / "benchmarks" / "bench.py"
ROWS = [  # what, and a pattern for what it's compared with; in the order of the table
    ("training, 32 px, plain", "the report's recipe, [02] workers"),
    ("training, 32 px, plain", "bare steps"),
    ("training, 32 px, augmented", "the report's recipe, [02] workers"),
    ("training, 32 px, augmented", "bare steps"),
    ("augmentation alone, 32 px", "the report's, by torchvision"),
    ("decoding, 32 px", "the report's MyDataset, plain"),
    ("stage of 1 epochs, 32 px", "its steps alone"),
    ("host feed, 32 px", "the report's augmented DataLoader, 2 workers"),
    ("peak memory, 32 px", "the report's recipe, 0 workers"),
    ("`import course_lib`", "`import torch, torchvision`"),
]


@pytest.fixture(scope="module")
def printed(tmp_path_factory):
    """What `bench.py --quick` prints."""
    scratch = tmp_path_factory.mktemp("scratch")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COURSE_")
    }
    environment["TMPDIR"] = str(scratch)
    environment["COURSE_HOME"] = str(scratch / "unused")
    environment["COURSE_PRECISION"] = "fp32"
    command = [sys.executable, BENCH, "--quick"]
    done = subprocess.run(
        command, cwd=scratch, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    left = [name for name in os.listdir(scratch) if not name.startswith("torchinductor")]
    assert left == []  # but for torch's own
    return done.stdout


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def number(text):
    return float(text.replace(",", ""))


def test_the_table_has_every_row(printed):
    machine, empty, head, rule, *lines = printed.splitlines()
    assert re.search(r"\d cores, \d+ threads; torch \d.*fp32; rounds: 1", machine)
    assert empty == ""
    assert cells(head) == ["what", "ours", "compared with", "ratio: median (range)", "bar"]
    assert set(rule) == {"|", "-"}
    found = []
    for line in lines:
        what, _, against, _, _ = cells(line)
        found.append((what, against.rsplit(": ", 1)[0]))
    assert len(found) == len(ROWS)
    for (what, against), (wanted, pattern) in zip(found, ROWS):
        assert what == wanted
        assert re.fullmatch(pattern, against)


def test_a_ratio_is_ours_through_theirs(printed):
    for line in printed.splitlines()[4:]:
        _, ours, against, ratio, _ = cells(line)
        our_figure = number(ours.split()[0])
        their_figure = number(against.rsplit(": ", 1)[1].split()[0])
        median, low, high = [number(text) for text in re.findall(r"[\d.,e-]+", ratio)]
        assert 0 < low <= median <= high, line
        if low == median == high and our_figure > 1:  # one round: figures are rounded to whole ones
            assert median == pytest.approx(our_figure / their_figure, rel=0.05), line
