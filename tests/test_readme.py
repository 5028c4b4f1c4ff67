"""The front page: every notebook with its question, links that lead somewhere, and one screen."""

import re
from pathlib import Path

from tools.notebooks import from_source, sources
from tools.place import Place
from tools.publish import ROW, published_readme

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
LINK = re.compile(r"\]\(([^)\s]+)\)|(?:src|href)=\"([^\"]+)\"")


def cells_of(row):
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_table_lists_every_notebook_with_its_minutes_and_its_question():
    rows = [cells_of(row[0]) for row in ROW.finditer(README.read_text(encoding="utf-8"))]
    assert len(rows) == len(sources())
    for source, (link, minutes, question, _) in zip(sources(), rows, strict=True):
        path = source.with_suffix(".ipynb")
        assert link == f"[`{source.stem}`]({path.relative_to(ROOT).as_posix()})"
        assert path.exists()
        title = from_source(source).cells[0].source
        assert re.search(
            rf"^# {int(source.stem[:2])}\. {re.escape(question)}$", title, re.MULTILINE
        )
        assert f"*{minutes} minutes to present" in title


def test_its_links_lead_somewhere():
    text = README.read_text(encoding="utf-8")
    paths = [first or second for first, second in LINK.findall(text)]
    own = [path for path in paths if not path.startswith("https:")]
    assert len(own) > 20
    for path in own:
        name, _, anchor = path.partition("#")
        assert (ROOT / name).exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.*)$", (ROOT / name).read_text(encoding="utf-8"), re.M)
            assert anchor in [heading.lower().replace(" ", "-") for heading in headings], path


def test_it_fits_one_screen():
    """About 1,500 pixels at GitHub's width; what doesn't fit belongs into docs/."""
    lines = README.read_text(encoding="utf-8").splitlines()
    words = " ".join(line for line in lines if not line.startswith(("|", "<a "))).split()
    assert len(words) < 350


def test_its_commands_are_targets_of_make():
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    commands = re.findall(r"^make (\w+)", README.read_text(encoding="utf-8"), re.M)
    assert commands == ["reproduce", "test"]
    assert set(commands) <= set(targets)


def test_it_can_be_published_from_any_state():
    first = published_readme(README, Place("owner/name", "main"))
    assert first.count("colab-badge.svg") == len(sources())
    assert "OWNER" not in first and "–" not in first
