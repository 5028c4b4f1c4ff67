"""JupyterLab in a real browser: what a reader does with the notebooks, and what is left of it."""

import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import ExitStack, contextmanager, suppress
from functools import cache
from urllib.parse import urlsplit

import nbformat
import pytest
from playwright.sync_api import expect, sync_playwright

from tools.notebooks import FOLDER
from tools.pair import pair

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium")
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
]
SETTINGS = {
    "apputils-extension/notification": {
        "fetchNews": "false",
        "checkForUpdates": False,
        "doNotDisturbMode": True,
    },
    "docmanager-extension/plugin": {"autosave": False},
}
COMPLAINTS = ", ".join(
    f'[data-mime-type="application/vnd.jupyter.{kind}"]' for kind in ("stderr", "error")
)
PATIENCE = 120_000  # milliseconds; a machine may be busy


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder with a copy of `notebooks/`."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(
        FOLDER, folder / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints")
    )
    return folder


@pytest.fixture(scope="module")
def lab(checkout, tmp_path_factory):
    """A function that starts JupyterLab in a folder of the checkout, once.

    epochs: how many a stage takes. Returns the address, with {} for a notebook.
    """
    with ExitStack() as servers:

        @cache
        def start(folder, epochs=1):
            return servers.enter_context(
                jupyterlab(checkout, folder, tmp_path_factory.mktemp("lab"), epochs)
            )

        yield start


@contextmanager
def jupyterlab(checkout, folder, state, epochs):
    """A JupyterLab of its own: nothing of this user's settings, and the smallest preset."""
    for name, value in SETTINGS.items():
        path = state / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("COURSE_")
    }
    environment |= {
        "COURSE_HOME": str(state / "home"),
        "COURSE_PRESET": "smoke",
        "COURSE_EPOCHS": str(epochs),
        "PYTHONPATH": str(FOLDER.parent),
        "JUPYTER_CONFIG_DIR": str(state / "config"),
        "JUPYTER_DATA_DIR": str(state / "data"),
        "JUPYTER_RUNTIME_DIR": str(state / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(state / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(state / "workspaces"),
        "IPYTHONDIR": str(state / "ipython"),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    token = secrets.token_hex(16)
    options = [
        "--no-browser",
        "--allow-root",
        "--ServerApp.ip=127.0.0.1",
        f"--ServerApp.port={port}",
        "--ServerApp.port_retries=0",
        f"--IdentityProvider.token={token}",
        "--LabApp.extension_manager=readonly",
    ]
    command = [sys.executable, "-m", "jupyterlab", *options]
    with open(state / "log", "wb") as log:
        server = subprocess.Popen(
            command, cwd=checkout / folder, env=environment, stdout=log, stderr=log
        )
    try:
        while server.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"{address}/api/status?token={token}"):
                break
            time.sleep(0.1)
        assert server.poll() is None, (state / "log").read_text()
        above = "" if folder == "notebooks" else "notebooks/"
        yield f"{address}/lab/tree/{above}{{}}?token={token}&reset"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)


class Notebook:
    """A notebook in JupyterLab, with a kernel that is ready."""

    def __init__(self, page, address):
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page.goto(address)
        self.page = page
        self.panel = page.locator(".jp-NotebookPanel:visible")
        self.ready()
        self.cells = self.panel.locator(".jp-CodeCell")

    def ready(self):
        """Wait until the kernel has nothing to do."""
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text(
            re.compile(r"ipykernel\)\s*\|\s*Idle")
        )

    def menu(self, name, item):
        """Choose an item of a menu."""
        self.page.get_by_role("menuitem", name=name, exact=True).click()
        self.page.get_by_role("menuitem", name=item).first.click()

    def run_all(self):
        self.menu("Run", re.compile("^Run All Cells$"))

    def run_up_to(self, code):
        """Run all cells above the one with this code, and then that one."""
        cell = self.cells.filter(has_text=code)
        self.prompt(cell).click()
        self.menu("Run", re.compile("^Run All Above"))
        self.menu("Run", re.compile("^Run Selected Cell(?! and)"))
        expect(self.prompt(cell)).to_have_text(re.compile(r"^\[\d+\]:$"))
        assert self.panel.locator(COMPLAINTS).count() == 0

    def save(self):
        """Save the notebook, and wait until both its files are written."""

        def is_that_of_the_notebook(response):  # and not of the window's layout
            return response.request.method == "PUT" and "/api/contents/" in response.url

        with self.page.expect_response(is_that_of_the_notebook) as answer:
            self.menu("File", re.compile("^Save Notebook(?! As)"))
        assert answer.value.ok
        answer.value.finished()

    def stop(self):
        """Press ■."""
        button = '[data-command="notebook:interrupt-kernel"], [title*="Interrupt"]'
        self.panel.locator(button).first.click()

    def finished(self):
        """Wait until the last cell with a prompt has run, and check that none has complained.

        A folded cell has no prompt.
        """
        prompts = self.prompt(self.cells)
        expect(prompts.last).to_have_text(re.compile(r"^\[\d+\]:$"))
        assert self.panel.locator(COMPLAINTS).count() == 0

    def choose(self, label, option):
        """Choose an option of a drop-down menu of ipywidgets, the one that contains this text."""
        menu = self.panel.locator(".widget-dropdown", has_text=label).locator("select")
        menu.select_option(menu.locator("option", has_text=option).first.get_attribute("value"))

    def slide(self, label, key):
        """Move a slider of ipywidgets with the keyboard, by one step: each step draws a picture."""
        self.panel.locator(".widget-slider", has_text=label).get_by_role("slider").first.press(key)

    def prompt(self, cell):
        return cell.locator(".jp-InputArea-prompt")

    def prompts_below(self, code):
        """The prompts of the cells below the one with this code, such as "[3]:" or "[]:"."""
        has_code = [code in text for text in self.cells.all_text_contents()]
        prompts = self.cells.locator(".jp-InputPrompt").all_text_contents()
        assert len(prompts) == len(has_code)
        below = prompts[has_code.index(True) + 1 :]
        return ["".join(prompt.split()) for prompt in below]


@contextmanager
def changing(picture):
    """Wait until a picture has changed."""
    before = picture.get_attribute("src")
    yield
    expect(picture).not_to_have_attribute("src", before)


@pytest.fixture
def page(browser):
    """An empty page, on a projector; it may ask nobody but this computer for anything."""
    page = browser.new_page(viewport={"width": 1920, "height": 1080})
    asked = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).hostname))
    page.on("websocket", lambda socket: asked.add(urlsplit(socket.url).hostname))
    yield page
    page.close()
    asked.discard(None)  # the page's own data
    assert asked == {"127.0.0.1"}


def inputs(path):
    """The content of a notebook's file without outputs, and the Python that made them."""
    notebook = nbformat.read(path, 4)
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
    return notebook


@contextmanager
def opened(page, address, stored):
    """A notebook in JupyterLab. Saving it, at once and in the end, changes only its outputs."""
    source = stored.with_suffix(".py")
    pair(source, stored)
    before = inputs(stored)
    text = source.read_bytes()
    notebook = Notebook(page, address.format(stored.name))
    notebook.save()
    saved = stored.read_bytes()
    pair(source, stored)
    assert stored.read_bytes() == saved  # `make pair` has nothing to add
    yield notebook
    notebook.save()
    assert inputs(stored) == before and source.read_bytes() == text


@pytest.mark.slow
def test_classes_and_augmentations_are_browsed(lab, page, checkout, tmp_path):
    with opened(page, lab("notebooks"), checkout / "notebooks" / "00_data.ipynb") as notebook:
        notebook.run_all()
        notebook.finished()
        picture = notebook.panel.locator(".jp-RenderedImage img").last
        assert picture.evaluate("image => image.naturalWidth") > 100
        page.screenshot(path=tmp_path / "page.png")
        classes, augmented = notebook.panel.locator(".widget-html img").all()
        with changing(classes):
            notebook.choose("class", "33: ")
        with changing(augmented):
            notebook.slide("rotate", "ArrowLeft")
        with changing(augmented):
            notebook.panel.get_by_role("button", name="draw again").click()
        assert notebook.panel.locator(COMPLAINTS).count() == 0
        for name, image in (("classes", classes), ("augmented", augmented)):
            image.scroll_into_view_if_needed()
            page.screenshot(path=tmp_path / f"{name}.png")


def test_predictions_are_browsed(lab, page, checkout, tmp_path):
    path = checkout / "notebooks" / "06_predictions_and_errors.ipynb"
    with opened(page, lab("notebooks"), path) as notebook:
        notebook.run_up_to("browse_predictions(images, probabilities)")
        page.screenshot(path=tmp_path / "page.png")
        picture = notebook.panel.locator(".widget-html img")
        caption = notebook.panel.locator(".widget-html").nth(-2)
        expect(caption).to_contain_text("80 images; page 1 of 7")
        with changing(picture):
            notebook.slide("page", "ArrowRight")
        expect(caption).to_contain_text("page 2 of 7")
        with changing(picture):
            notebook.panel.get_by_role("button", name="wrong").click()
        expect(caption).to_contain_text("page 1 of")
        with changing(picture):
            notebook.choose("true class", "7: ")
        expect(caption).to_contain_text("1 images; page 1 of 1")
        assert notebook.panel.locator(COMPLAINTS).count() == 0
        with changing(picture):
            notebook.choose("true class", "any")
        picture.scroll_into_view_if_needed()
        page.screenshot(path=tmp_path / "predictions.png")


@pytest.mark.slow
def test_training_is_seen_stopped_in_one_line_and_resumed_by_the_same_cell(
    lab, page, checkout, tmp_path
):
    address = lab(".", epochs=1000)  # nothing here trains to the end
    path = checkout / "notebooks" / "04_without_augmentation.ipynb"
    with opened(page, address, path) as notebook:
        code = "live=live_curve(stage)"
        training = notebook.cells.filter(has_text=code)
        notebook.run_all()  # which jumps to the last cell
        figure = training.locator(".jp-RenderedImage img")
        expect(figure).to_be_in_viewport(ratio=0.99)
        with changing(figure):
            pass
        expect(figure).to_be_in_viewport(ratio=0.99)
        page.screenshot(path=tmp_path / "training.png")
        notebook.stop()
        error = training.locator(COMPLAINTS)
        expect(error).to_have_text(re.compile(r"^\s*Stopped: [^\n]+\s*$"))
        notebook.ready()
        page.screenshot(path=tmp_path / "stopped.png")
        # What comes later hasn't run; a folded cell shows no prompt.
        assert set(notebook.prompts_below(code)) - {""} == {"[]:"}
        red = notebook.panel.locator(".progress-bar-danger:visible, .jp-mod-danger:visible")
        assert red.count() == 0
        reached = re.search(r"in epoch \d+", error.inner_text())[0]

        training.locator(".cm-content").click()
        notebook.menu("Run", re.compile("^Run Selected Cell$|^Run Selected Cell and Do"))
        expect(training).to_contain_text(f"Resuming stage 2 {reached}")
        assert error.count() == 0
        with changing(figure):
            pass
        page.screenshot(path=tmp_path / "resumed.png")
        notebook.stop()
        expect(error).to_have_count(1)
