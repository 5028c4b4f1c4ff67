"""Run the notebooks headless from their `.py` sources (`make reproduce`).

What they print is shown while they run; at the end comes the table against the report.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from jupyter_core.utils import ensure_async
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError
from nbformat import NotebookNode

from course_lib import CourseError, open_course, read_results, table
from course_lib.live import EPOCH_DATA
from course_lib.storage.files import write_text

from .notebooks import as_derived, from_source, keep_if_edited, sources

FIRST_EXTRA = "10"  # this notebook and later ones run only if they are named
RESUME = "To resume, run the same command again, but without --fresh or FRESH=1."


class NotebookFailed(CourseError):
    """A cell of a notebook raised an error, or its kernel died."""


def execute(source: Path, target: Path) -> None:
    """Run a notebook from its `.py` in a fresh kernel and write it to `target`.

    What's there is kept under another name if somebody has edited it. Raises NotebookFailed, or
    KeyboardInterrupt after Ctrl-C; whatever was run before is written.
    """
    notebook = from_source(source)
    runner = Runner(
        notebook,
        timeout=None,
        kernel_name="python3",
        extra_arguments=["--log-level=ERROR"],
        resources={"metadata": {"path": os.getcwd()}},
    )
    environment = dict(os.environ)
    # A backend that was chosen for scripts would keep the figures out of the notebook.
    environment.pop("MPLBACKEND", None)
    try:
        runner.execute(env=environment)
    except CellExecutionError as error:
        if error.ename == "Stopped":  # Ctrl-C, and the training is saved
            raise KeyboardInterrupt from None
        raise NotebookFailed(
            f"A cell of {source.name} failed: {error.ename}: {error.evalue}"
        ) from None
    except DeadKernelError:
        raise NotebookFailed(f"{source.name}: its kernel died (out of memory?). {RESUME}") from None
    finally:
        keep_if_edited(target)
        write_text(target, as_derived(notebook))


class Runner(NotebookClient):
    """Runs a notebook and shows in the terminal what it prints, and how far its training is."""

    bar = ""  # the text of the progress bar that is on screen
    epoch: tuple[int, int] | None = None  # stage and epoch of the line shown last

    async def async_start_new_kernel_client(self):
        """Start the kernel; from then on, Ctrl-C does what ■ does."""
        client = await super().async_start_new_kernel_client()
        with suppress(NotImplementedError):  # on Windows, Ctrl-C ends nbclient and the kernel
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self.interrupt)
        return client

    def interrupt(self) -> None:
        """Interrupt the running cell, which saves what it trained."""
        assert self.km is not None
        self.interrupting = asyncio.ensure_future(ensure_async(self.km.interrupt_kernel()))

    def output(self, outs: list[NotebookNode], msg: dict[str, Any], *where: Any) -> Any:
        """Show what a cell prints."""
        if msg["msg_type"] == "stream":
            self.show_bar("")
            stream = sys.stdout if msg["content"]["name"] == "stdout" else sys.stderr
            print(msg["content"]["text"], end="", file=stream, flush=True)
        return super().output(outs, msg, *where)

    def process_message(self, msg: dict[str, Any], cell: NotebookNode, cell_index: int) -> Any:
        """Show a line for each epoch of a live curve, which is redrawn several times per epoch."""
        live = msg["content"].get("data", {}).get(EPOCH_DATA)
        if live is not None and (live["stage"], live["epoch"]) != self.epoch:
            self.epoch = (live["stage"], live["epoch"])
            self.show_bar("")
            print(live["text"], flush=True)
        return super().process_message(msg, cell, cell_index)

    def handle_comm_msg(self, outs: list[NotebookNode], msg: dict[str, Any], cell_index: int):
        """Show how far a progress bar is."""
        super().handle_comm_msg(outs, msg, cell_index)  # keeps the state of all widgets
        widget = self.widget_state.get(msg["content"]["comm_id"], {})
        if widget.get("_model_name") == "FloatProgressModel":
            self.show_bar(f"{widget['value']:,.0f} of {widget['max']:,.0f}")

    def show_bar(self, text: str) -> None:
        """Replace the progress bar on the terminal's last line, if it is a terminal."""
        if sys.stdout.isatty() and text != self.bar:
            text = text[: shutil.get_terminal_size().columns - 1]
            print(f"\r{text:{len(self.bar)}}\r", end="", flush=True)
            self.bar = text


def reproduce(chosen: str, fresh: bool) -> None:
    """Run the notebooks and print the table.

    chosen: beginnings of their names, as in "02,03"; empty for all that come before FIRST_EXTRA.
    fresh: delete the run first. Raises CourseError, or FileNotFoundError if there's no such
    notebook.
    """
    notebooks = sources(chosen)
    if not chosen:
        notebooks = [path for path in notebooks if path.name < FIRST_EXTRA]
    course = open_course(start_over=fresh)
    for source in notebooks:
        print(f"\n=== {source.stem}", flush=True)
        execute(source, course.folder / "notebooks" / f"{source.stem}.ipynb")
    print(f"\nExecuted notebooks, figures and results are in {course.shown(course.folder)}.\n")
    results = read_results(course)
    if results["stages"]:  # none if only 00 or 12 was asked for
        print(table(results))


def main(arguments: list[str]) -> None:
    """Parse the command line and run the notebooks; an error is one sentence and exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.reproduce", description=__doc__)
    parser.add_argument(
        "--fresh", action="store_true", help="delete the run first, here and on Drive"
    )
    parser.add_argument(
        "--notebooks", default="", help="only these, such as 02,03; by default 00 to 06"
    )
    parser.add_argument(
        "--skip-unreadable", action="store_true", help="leave out images that can't be read"
    )
    chosen = parser.parse_args(arguments)
    if chosen.skip_unreadable:
        os.environ["COURSE_SKIP_UNREADABLE"] = "1"  # the notebooks' kernels see it, too
    try:
        reproduce(chosen.notebooks, chosen.fresh)
    except (CourseError, FileNotFoundError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"Stopped. {RESUME}")


if __name__ == "__main__":
    main(sys.argv[1:])
