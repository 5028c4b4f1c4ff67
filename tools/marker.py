"""The process that marks answers, as seen from `make grade`: started, asked, started again."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType

from . import notebooks

# What the process runs. Its arguments are the checkout, which it mustn't find, and the copy.
START = """import sys
sys.path = [sys.argv[2], *(path for path in sys.path if path != sys.argv[1])]
import marking
marking.serve()
"""
# Lays an empty folder over each folder in $HIDDEN (one per line), then becomes its arguments.
HIDE = """IFS='
'
set -f
for folder in $HIDDEN; do mount -t tmpfs none "$folder" || exit 1; done
exec "$@"
"""
WALLS = ["unshare", "--map-root-user", "--net", "--mount", "sh", "-c", HIDE, "sh"]


class Marker:
    """A process that runs tools/marking.py, from a copy of the library without solutions.

    walled: it has no network, and doesn't see the hidden folders.
    """

    def __init__(self, folder: Path, hidden: list[Path]) -> None:
        """Copy the library into `folder`, which is empty, and start the process there.

        hidden: folders that answers mustn't see.
        """
        self.folder = folder
        checkout = notebooks.FOLDER.parent
        library = folder / "library"
        without_caches = shutil.ignore_patterns("__pycache__")
        shutil.copytree(checkout / "course_lib", library / "course_lib", ignore=without_caches)
        shutil.copy(checkout / "data_manifest.json", library)
        shutil.copy(checkout / "tools" / "marking.py", library)
        # Nothing else of your environment, which may hold passwords.
        self.environment = {
            "COURSE_HOME": str(folder / "runs"),
            "CUDA_VISIBLE_DEVICES": "",  # the limit of memory isn't one on a GPU
            "HIDDEN": "\n".join(str(path) for path in hidden if path.is_dir()),
            "HOME": str(folder),
            "MPLBACKEND": "Agg",
            "OMP_NUM_THREADS": "1",  # a process with more threads shouldn't fork
            "PATH": os.environ.get("PATH", os.defpath),
            "TMPDIR": str(folder),
        }
        self.command = [sys.executable, "-I", "-c", START, str(checkout), str(library)]
        self.walled = self.works([*WALLS, sys.executable, "-c", ""])
        if self.walled:
            self.command = [*WALLS, *self.command]
        self.start()

    def works(self, command: list[str]) -> bool:
        """This command can be run here."""
        try:
            done = subprocess.run(command, env=self.environment, capture_output=True)
        except OSError:  # there is no such program
            return False
        return done.returncode == 0

    def start(self) -> None:
        """Start the process, and wait until it's ready. Raises RuntimeError if it never is."""
        errors = self.folder / "errors.txt"
        with open(errors, "wb") as file:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
            )
        answers = self.process.stdout
        for line in answers or ():
            if line == b"ready\n":
                return
        raise RuntimeError(f"Marking can't start: {errors.read_text(errors='replace')[-2000:]}")

    def mark(self, code: str, check: str, seconds: float) -> tuple[bool | None, str]:
        """The verdict on an answer (right, wrong, not done yet), and a sentence."""
        question = json.dumps({"code": code, "check": check, "seconds": seconds}) + "\n"
        reply = b""
        if self.process.stdin and self.process.stdout:
            self.process.stdin.write(question.encode())
            self.process.stdin.flush()
            reply = self.process.stdout.readline()
        try:
            verdict, sentence = json.loads(reply)
        except ValueError:
            self.stop()
            self.start()
            return False, "✗ Your code ends the process that marks it."
        return verdict, sentence

    def stop(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

    def __enter__(self) -> Marker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
