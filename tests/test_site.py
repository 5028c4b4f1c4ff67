"""The site: what a reader finds on it, and that it asks no other host for anything."""

import io
import re
import shutil
import subprocess
from contextlib import redirect_stderr
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import nbformat
import pytest
from playwright.sync_api import sync_playwright
from sphinx.cmd.build import build_main
from test_jupyterlab import CHROMIUM, FLAGS
from test_notebooks import is_folded

import course_lib
from course_lib import checks
from tools import notebooks
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
        assert figures
        for figure in figures:
            assert (page.parent / unquote(figure)).stat().st_size > 1000


def test_each_figure_is_described_as_the_notebook_describes_it(site):
    described = 0
    for source in sources():
        page = site / "notebooks" / f"{source.stem}.html"
        shown = re.findall(r'<img alt="([^"]*)"[^>]* src="\.\./_images/', page.read_text("utf-8"))
        stored = []
        for cell in nbformat.read(source.with_suffix(".ipynb"), 4).cells:
            for output in cell.get("outputs", []):
                data = output.get("data", {})
                if any(kind.startswith("image/") for kind in data):
                    stored.append(" ".join(data["text/plain"].split()))
        assert [unescape(text) for text in shown] == stored
        described += len(stored)
    assert described > 30


def test_a_folded_cell_shows_its_title_and_a_widgets_place_says_so(site):
    for source in sources():
        html = (site / "notebooks" / f"{source.stem}.html").read_text("utf-8")
        page = text_of(site / "notebooks" / f"{source.stem}.html")
        cells = nbformat.read(source.with_suffix(".ipynb"), 4).cells
        folded = [cell for cell in cells if cell.cell_type == "code" and is_folded(cell)]
        assert html.count('<details class="admonition hide above-input') == len(folded)
        assert "<details open" not in html and "Show code cell" not in page
        for cell in folded:
            assert cell.source.splitlines()[0].removeprefix("# @title ") in page
    first = text_of(site / "notebooks" / "00_data.html")
    assert first.count("Run the notebook to get sliders") == 2


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


def test_the_reference_is_about_this_library_alone_and_leads_to_its_source(site):
    html = (site / "docs" / "api.html").read_text(encoding="utf-8")
    shown = text_of(site / "docs" / "api.html")
    assert ":class:" not in shown and "Module instance afterwards" not in shown
    assert "~" not in shown and "<class '" not in shown
    names = set(re.findall(r'<dt class="sig[^"]*" id="course_lib\.(\w+)">', html))
    linked = set(re.findall(r'href="\.\./_modules/course_lib/[\w/]+\.html#(\w+)"', html))
    assert {"train", "MyModel"} <= names <= linked
    for address in re.findall(r'href="\.\./(_modules/[\w/]+\.html)#', html):
        assert (site / address).exists()


@pytest.mark.slow
@pytest.mark.skipif(not CHROMIUM, reason="there is no chromium")
def test_no_page_scrolls_sideways_on_a_phone_and_no_code_is_cut_at_1280_pixels(site):
    wider = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    cut = """[...document.querySelectorAll('.cell_input pre')]
        .filter(code => code.scrollWidth > code.clientWidth).map(code => code.textContent)"""
    unfold = "document.querySelectorAll('details').forEach(details => details.open = true)"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = browser.new_page()
        code = 0
        paths = [path for path in site.rglob("*.html") if "<article" in path.read_text("utf-8")]
        assert len(paths) > 40
        for path in paths:
            page.set_viewport_size({"width": 390, "height": 844})
            page.goto(path.as_uri())
            page.evaluate(unfold)
            assert page.evaluate(wider) == 0, path.name
            page.set_viewport_size({"width": 1280, "height": 800})
            assert page.evaluate(cut) == [], path.name
            code += page.locator(".cell_input pre").count()
        browser.close()
    assert code > 100


def test_a_published_courses_site_has_buttons_that_lead_to_it(tmp_path, monkeypatch):
    course = tmp_path / "course"
    (course / "docs").mkdir(parents=True)
    (course / "docs" / "index.md").write_text(
        "# One\n\n```{toctree}\n../notebooks/00_data\n```\n", encoding="utf-8"
    )
    (course / "notebooks").mkdir()
    for name in ("00_data.py", "00_data.ipynb"):
        text = (ROOT / "notebooks" / name).read_text(encoding="utf-8")
        for quote in ('"', '\\"'):
            text = text.replace(f"repository = {quote}{quote}", f"repository = {quote}a/b{quote}")
            text = text.replace(f"ref = {quote}{quote}", f"ref = {quote}v1{quote}")
        (course / "notebooks" / name).write_text(text, encoding="utf-8")
    monkeypatch.setattr(notebooks, "FOLDER", course / "notebooks")
    build(course, tmp_path)  # there are dead links: most pages are missing
    html = (tmp_path / "site" / "notebooks" / "00_data.html").read_text(encoding="utf-8")
    assert 'href="https://github.com/a/b"' in html
    assert 'href="https://github.com/a/b/issues/new' in html
    # The class's version: the stored one has all results.
    badge = "https://colab.research.google.com/github/a/b/blob/v1/"
    assert f'href="{badge}class/00_data.ipynb"' in html
    assert f"{badge}notebooks" not in html


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


def test_each_notebook_leads_to_the_next_one_and_to_the_glossary(site):
    pages = [f"{source.stem}.html" for source in sources()]
    for page, following in zip(pages, [*pages[1:], None], strict=True):
        html = (site / "notebooks" / page).read_text(encoding="utf-8")
        article = html.partition("<article")[2].partition("</article>")[0]
        assert 'href="glossary.html"' in article, page
        if following:
            assert f'href="{following}"' in article, page
