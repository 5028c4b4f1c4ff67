"""JupyterLab in a real browser: what a reader does with the notebooks, and what that leaves in their files."""

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

import nbformat
import pytest
from playwright.sync_api import expect, sync_playwright

from tools.notebooks import FOLDER
from tools.pair import pair

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="there is no chromium")
FLAGS = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update"
SETTINGS = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
    "notebook-extension/tracker": {"windowingMode": "none"},
    "docmanager-extension/plugin": {"autosave": False},
}
PATIENCE = 120_000  # milliseconds; a machine may be busy


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A folder with a copy of `notebooks/`."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(FOLDER, folder / "notebooks", ignore=shutil.ignore_patterns(".ipynb_checkpoints"))
    return folder


@pytest.fixture(scope="module")
def lab(checkout, tmp_path_factory):
    """A function that starts JupyterLab in a folder of the checkout and returns its address, with {} for a notebook."""
    with ExitStack() as servers:
        yield cache(lambda folder: servers.enter_context(jupyterlab(checkout, folder, tmp_path_factory.mktemp("lab"))))


@contextmanager
def jupyterlab(checkout, folder, state):
    """A JupyterLab of its own: nothing of this user's settings, and the smallest preset."""
    for name, value in SETTINGS.items():
        path = state / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COURSE_")}
    environment |= {
        "COURSE_HOME": str(checkout / "runs"),
        "COURSE_PRESET": "smoke",
        "COURSE_EPOCHS": "1000",  # nothing here trains to the end
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
    address, token = f"http://127.0.0.1:{port}", secrets.token_hex(16)
    options = (
        f"--no-browser --allow-root --ServerApp.ip=127.0.0.1 --ServerApp.port={port} --ServerApp.port_retries=0 "
        f"--IdentityProvider.token={token} --LabApp.extension_manager=readonly"
    )
    command = [sys.executable, "-m", "jupyterlab", *options.split()]
    with open(state / "log", "wb") as log:
        server = subprocess.Popen(command, cwd=checkout / folder, env=environment, stdout=log, stderr=log)
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
        yield playwright.chromium.launch(executable_path=CHROMIUM, args=[f"--{flag}" for flag in FLAGS.split()])


class Notebook:
    """A notebook in JupyterLab, with a kernel that is ready."""

    def __init__(self, page, address):
        page.set_default_timeout(PATIENCE)
        expect.set_options(timeout=PATIENCE)
        page.goto(address)
        self.page, self.panel = page, page.locator(".jp-NotebookPanel:visible")
        self.ready()
        self.cells = self.panel.locator(".jp-CodeCell")

    def ready(self):
        """Wait until the kernel has nothing to do."""
        expect(self.page.locator("#jp-main-statusbar")).to_contain_text(re.compile(r"ipykernel\)\s*\|\s*Idle"))

    def menu(self, name, item):
        """Choose an item of a menu."""
        self.page.get_by_role("menuitem", name=name, exact=True).click()
        self.page.get_by_role("menuitem", name=item).first.click()

    def run_all(self):
        self.menu("Run", re.compile("^Run All Cells$"))

    def save(self):
        """Save the notebook, and wait until both its files are written."""
        with self.page.expect_response(lambda answer: answer.request.method == "PUT") as answer:
            self.menu("File", re.compile("^Save Notebook(?! As)"))
        assert answer.value.ok
        answer.value.finished()

    def stop(self):
        """Press ■."""
        self.panel.locator('[data-command="notebook:interrupt-kernel"], [title*="Interrupt"]').first.click()

    def epochs(self, cell):
        """The epochs whose lines a cell has printed."""
        return [int(number) for number in re.findall(r"stage \d, epoch +(\d+)/", cell.inner_text())]

    def wait_for_epoch(self, cell, number):
        """Wait until a cell has printed this epoch's line."""
        expect(cell).to_contain_text(re.compile(rf"stage \d, epoch +{number}/"))

    def prompt(self, cell):
        return cell.locator(".jp-InputArea-prompt")


@pytest.fixture
def page(browser):
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    yield page
    page.close()


def inputs(path):
    """The content of a notebook's file without outputs, and without the version of the Python that made them."""
    notebook = nbformat.read(path, 4)
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        cell.pop("outputs", None)
        cell.pop("execution_count", None)
    return notebook


@pytest.mark.parametrize("folder", [".", "notebooks"])
def test_saving_a_notebook_changes_nothing_but_its_outputs(folder, lab, page, checkout, tmp_path):
    stored = checkout / "notebooks" / "00_setup_and_data.ipynb"
    source = stored.with_suffix(".py")
    pair(source, stored)
    before, text = inputs(stored), source.read_bytes()
    notebook = Notebook(page, lab(folder).format(stored.name))
    notebook.save()
    saved = stored.read_bytes()
    assert inputs(stored) == before and source.read_bytes() == text
    pair(source, stored)
    assert stored.read_bytes() == saved  # `make pair` has nothing to add

    notebook.run_all()
    expect(notebook.prompt(notebook.cells.last)).to_have_text(re.compile(r"^\[\d+\]:$"))
    page.screenshot(path=tmp_path / "page.png", full_page=True)
    assert notebook.panel.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0
    picture = notebook.panel.locator(".jp-RenderedImage img").last
    assert picture.evaluate("image => image.naturalWidth") > 100
    notebook.save()
    assert inputs(stored) == before and source.read_bytes() == text


def test_stop_ends_run_all_in_one_line_and_the_same_cell_resumes(lab, page, tmp_path):
    notebook = Notebook(page, lab(".").format("02_train_without_augmentation.ipynb"))
    training = notebook.cells.filter(has_text="history = train(")
    position = notebook.cells.evaluate_all(
        "cells => cells.findIndex(cell => cell.innerText.includes('history = train('))"
    )
    notebook.run_all()
    notebook.wait_for_epoch(training, 2)
    notebook.stop()
    error = training.locator('[data-mime-type="application/vnd.jupyter.error"], [data-mime-type*="stderr"]')
    expect(error).to_have_text(re.compile(r"^\s*Stopped: [^\n]+\s*$"))
    notebook.ready()
    page.screenshot(path=tmp_path / "stopped.png")
    for later in range(position + 1, notebook.cells.count()):
        expect(notebook.prompt(notebook.cells.nth(later))).to_have_text(re.compile(r"^\[ ?\]:$"))
    assert notebook.panel.locator(".progress-bar-danger:visible, .jp-mod-danger:visible").count() == 0
    reached = max(notebook.epochs(training))

    training.locator(".cm-content").click()
    notebook.menu("Run", re.compile("^Run Selected Cell$|^Run Selected Cell and Do"))
    notebook.wait_for_epoch(training, reached + 2)
    page.screenshot(path=tmp_path / "resumed.png")
    assert notebook.epochs(training)[:reached] == list(range(1, reached + 1))  # earlier epochs are listed again
    assert error.count() == 0
    notebook.stop()
    expect(error).to_have_count(1)
