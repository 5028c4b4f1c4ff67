"""The site: what a reader finds on it, and that it asks no other host for anything."""

import io
import re
import shutil
import subprocess
from contextlib import redirect_stderr
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
from sphinx.cmd.build import build_main
from test_notebooks import NOT_RUN_YET

import course_lib
from course_lib import checks
from tools.notebooks import sources

ROOT = Path(__file__).resolve().parent.parent
# Of a theme's, inside Sphinx:
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
SPHINX = "sphinx -q -E -W --keep-going -c docs"  # as in the Makefile


def build(source, target):
    """Build a site; returns what Sphinx complains about, which `make site` treats as an error."""
    options = [*SPHINX.split()[1:-1], ROOT / "docs", "-d", target / "doctrees"]
    errors = io.StringIO()
    with redirect_stderr(errors):
        status = build_main([str(option) for option in (*options, source, target / "site")])
    assert bool(status) == bool(errors.getvalue()), errors.getvalue()
    return errors.getvalue()


def text_of(page):
    return " ".join(unescape(re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))).split())


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The course's site."""
    folder = tmp_path_factory.mktemp("site")
    assert build(ROOT, folder) == ""
    return folder / "site"


def test_the_notebooks_show_their_stored_figures(site):
    for source in sources():
        page = site / "notebooks" / f"{source.stem}.html"
        text = page.read_text(encoding="utf-8")
        figures = re.findall(r'src="(\.\./_images/[^"]+\.(?:png|jpe?g))"', text)
        assert figures or source.stem in NOT_RUN_YET
        for figure in figures:
            assert (page.parent / unquote(figure)).stat().st_size > 1000


def test_the_glossary_the_report_and_the_presenters_page_are_there(site):
    assert "Overfitting" in text_of(site / "notebooks" / "glossary.html")
    assert "res_block" in text_of(site / "docs" / "REPORT.html")
    contents = (site / "docs" / "index.html").read_text(encoding="utf-8")
    notebooks = ("../notebooks/glossary.html", "../notebooks/README.html")
    for page in (*notebooks, "REPORT.html", "api.html"):
        assert f'href="{page}"' in contents
    assert "docs/index.html" in (site / "index.html").read_text(encoding="utf-8")


def test_the_reference_has_every_exported_name_with_its_docstring_as_it_is_written(site):
    page = site / "docs" / "api.html"
    html = page.read_text(encoding="utf-8")
    shown = text_of(page)
    names = [
        name
        for name, thing in vars(course_lib).items()
        if hasattr(thing, "__module__") and name[0] != "_"
    ]
    assert {"train", "MyModel", "DataError"} <= set(names)
    for name in ("experiment.Course.experiment", "data.bank.Images.take", "settings.Settings"):
        assert f'id="course_lib.{name}"' in html
    for name in checks.__all__:
        assert f'id="course_lib.checks.{name}"' in html
    for name in names:
        assert f'id="course_lib.{name}"' in html
        summary = re.sub("[`*]", "", getattr(course_lib, name).__doc__.split("\n\n")[0])
        assert " ".join(summary.split()) in shown


def test_no_page_asks_another_host(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 10
    for page in pages:
        html = page.read_text(encoding="utf-8")
        assert not re.search(
            r"<(script|link|img|iframe|source)\b[^>]*\s(src|href)=\"(https?:)?//", html
        ), page


def test_a_badge_becomes_a_link_a_formula_needs_no_script_and_what_cannot_be_shown_is_an_error(
    tmp_path,
):
    badge = "[![Open](https://b.example/x.svg)](https://c.example/)"
    formulas = "$-\\log p$\n\n$$y = x$$"
    wrong = "[there](nowhere.md) $\\nosuch{x}$"
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "index.md").write_text(
        f"# One\n\n{badge}\n\n{formulas}\n\n{wrong}\n", encoding="utf-8"
    )
    # Nothing else is complained about:
    first, second = build(tmp_path, tmp_path).strip().splitlines()
    assert "nowhere.md" in first
    assert r"\nosuch{x}" in second
    html = (tmp_path / "site" / "docs" / "index.html").read_text(encoding="utf-8")
    assert re.search(r'<a [^>]*href="https://c\.example/"[^>]*>Open</a>', html)
    assert "b.example" not in html
    assert html.count("<math") == 2
    assert 'display="block"' in html
    assert "mathjax.js" not in html.lower()


@pytest.mark.skipif(not shutil.which("make"), reason="there is no make")
def test_make_site_is_what_is_tested_here():
    planned = subprocess.run(
        ["make", "-n", "site"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert f"-m {SPHINX}" in planned
