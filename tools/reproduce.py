"""Run the notebooks headless from their `.py` sources and print the table against the report (`make
reproduce`)."""

import argparse
import asyncio
import html
import os
import shutil
import signal
import sys
from contextlib import suppress

from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, DeadKernelError

from course_lib import CourseError, open_course, read_results, table
from course_lib.storage.files import write_text

from .notebooks import as_notebook, from_source, sources

FIRST_EXTRA = "07"  # this notebook and later ones run only if they are named
RESUME = "To resume, run the same command again, but without --fresh or FRESH=1."


class NotebookFailed(CourseError):
    """A cell of a notebook raised an error, or its kernel died."""


def execute(source, target):
    """Execute a notebook from its `.py` in a fresh kernel, showing what it prints, and write it to
    `target`.

    Raises NotebookFailed; whatever was executed before that is still written.
    """
    notebook = from_source(source)
    # A backend that was chosen for scripts would keep the figures out of the notebook.
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    try:
        Telling(
            notebook,
            timeout=None,
            kernel_name="python3",
            extra_arguments=["--log-level=ERROR"],
            resources={"metadata": {"path": os.getcwd()}},
        ).execute(env=environment)
    except CellExecutionError as error:
        if error.ename == "Stopped":  # Ctrl-C, and the training is saved
            raise KeyboardInterrupt from None
        raise NotebookFailed(
            f"A cell of {source.name} failed: {error.ename}: {error.evalue}"
        ) from None
    except DeadKernelError:
        raise NotebookFailed(f"{source.name}: its kernel died (out of memory?). {RESUME}") from None
    finally:
        write_text(target, as_notebook(notebook))


class Telling(NotebookClient):
    """Shows in the terminal what a notebook prints, and the text of its progress bars, while it
    runs."""

    _bar = _label = _epoch = ""

    async def async_start_new_kernel_client(self):
        client = await super().async_start_new_kernel_client()
        with suppress(RuntimeError):  # not on Windows
            # Ctrl-C is ■: the running cell stops, and saves. nbclient would end the kernel.
            asyncio.get_running_loop().add_signal_handler(
                signal.SIGINT, lambda: asyncio.ensure_future(self.km.interrupt_kernel())
            )
        return client

    def output(self, outs, msg, display_id, cell_index):
        if msg["msg_type"] == "stream":
            self._show_bar("")
            stream = sys.stdout if msg["content"]["name"] == "stdout" else sys.stderr
            print(msg["content"]["text"], end="", file=stream, flush=True)
        return super().output(outs, msg, display_id, cell_index)

    def process_message(self, msg, cell, cell_index):
        # The live curve: its text begins with "Epoch 3 of 44: …", and is redrawn several times per
        # epoch.
        text = msg["content"].get("data", {}).get("text/plain", "")
        epoch = text.partition(":")[0]
        if epoch.startswith("Epoch ") and epoch != self._epoch:
            self._show_bar("")
            print(text, flush=True)
            self._epoch = epoch
        return super().process_message(msg, cell, cell_index)

    def handle_comm_msg(self, outs, msg, cell_index):
        # tqdm's notebook bar: a label that ends in its percentage, a bar, and its count and rate in
        # brackets.
        value = msg["content"].get("data", {}).get("state", {}).get("value")
        if isinstance(value, str) and value.endswith("%"):
            self._label = value
        elif isinstance(value, str) and value.endswith("]"):
            self._show_bar(" ".join(html.unescape(f"{self._label} {value}").split()))
        return super().handle_comm_msg(outs, msg, cell_index)

    def _show_bar(self, text):
        if sys.stdout.isatty() and (text or self._bar):
            text = text[: shutil.get_terminal_size().columns - 1]
            print(f"\r{text:{len(self._bar)}}\r", end="", flush=True)
            self._bar = text


def main(arguments):
    """Parse the command line, run the notebooks and print the table; an error is one sentence and
    exit status 1."""
    parser = argparse.ArgumentParser(prog="python -m tools.reproduce", description=__doc__)
    parser.add_argument(
        "--fresh", action="store_true", help="delete the run first, here and on Drive"
    )
    parser.add_argument(
        "--notebooks", default="", help="only these, such as 02,03; by default 00 to 06"
    )
    chosen = parser.parse_args(arguments)
    try:
        found = [
            path
            for path in sources(chosen.notebooks)
            if chosen.notebooks or path.name < FIRST_EXTRA
        ]
        course = open_course()
        if chosen.fresh:
            course.start_over()
        for source in found:
            print(f"\n=== {source.stem}", flush=True)
            execute(source, course.folder / "notebooks" / f"{source.stem}.ipynb")
        print(f"\nExecuted notebooks, figures and results are in {course.shown(course.folder)}.\n")
        if (results := read_results(course))["stages"]:  # none if only 00 or 08 was asked for
            print(table(results))
    except (CourseError, FileNotFoundError) as error:
        sys.exit(f"{type(error).__name__}: {error}")
    except KeyboardInterrupt:
        sys.exit(f"Stopped. {RESUME}")


if __name__ == "__main__":
    main(sys.argv[1:])
