"""The benchmark runs from beginning to end and leaves nothing behind; what it measures is no matter
for a test."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent.parent / "benchmarks" / "bench.py"
ROWS = [  # (what, what it is compared with), in the order of the table
    ("training, 32 px, plain", "the report's recipe, 0|2 workers"),
    ("training, 32 px, plain", "bare steps"),
    ("training, 32 px, augmented", "the report's recipe, 0|2 workers"),
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
    own = {
        "TMPDIR": str(scratch),
        "COURSE_HOME": str(scratch / "unused"),
        "COURSE_PRECISION": "fp32",
    }
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COURSE_")
    } | own
    command = [sys.executable, BENCH, "--quick"]
    done = subprocess.run(
        command, cwd=scratch, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert [
        name for name in os.listdir(scratch) if not name.startswith("torchinductor")
    ] == []  # torch's own
    return done.stdout


def cells(line):
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_the_table_has_every_row(printed):
    machine, empty, head, rule, *lines = printed.splitlines()
    assert re.search(r"\d cores, \d+ threads; torch \d.*fp32; rounds: 1", machine) and empty == ""
    assert cells(head) == ["what", "ours", "compared with", "ratio: median (range)", "bar"] and set(
        rule
    ) == {"|", "-"}
    found = []
    for what, _, against, _, _ in map(cells, lines):
        found.append((what, re.sub(r"[02] workers$", "", against.rsplit(": ", 1)[0])))
    assert found == [(what, re.sub(r"(0\|2|[02]) workers$", "", against)) for what, against in ROWS]


def test_a_ratio_is_ours_through_theirs(printed):
    for line in printed.splitlines()[4:]:
        _, ours, against, ratio, _ = cells(line)
        ours, theirs = (
            float(text.split()[0].replace(",", "")) for text in (ours, against.rsplit(": ", 1)[1])
        )
        median, low, high = (
            float(text.replace(",", "")) for text in re.findall(r"[\d.,e-]+", ratio)
        )
        assert 0 < low <= median <= high, line
        if low == median == high and ours > 1:  # one round: figures are rounded to whole ones
            assert median == pytest.approx(ours / theirs, rel=0.05), line
