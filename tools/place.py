"""Where a course is published: its address on GitHub, and the branch or tag that a class gets."""

from __future__ import annotations

import re
import subprocess
from typing import NamedTuple

from . import notebooks
from .notebooks import MARKER

COLAB = "https://colab.research.google.com"

# GitHub's rules. An owner has at most 39 letters, digits and single hyphens between them. A name
# has at most 100 characters, isn't "." or "..", and doesn't end in ".git".
OWNER = r"(?=.{1,39}/)[a-z\d]+(-[a-z\d]+)*"
NAME = r"(?!\.{1,2}$)(?!.*\.git$)[\w.-]{1,100}"
REPOSITORY = re.compile(f"{OWNER}/{NAME}", re.IGNORECASE | re.ASCII)
# What stands before owner/name, in a browser or for git; somebody's name may be in it.
HOST = re.compile(
    r"^((https?://)?(www\.|[^/@]+@)?github\.com/|(ssh://)?git@github\.com[:/])", re.IGNORECASE
)
# Git allows more in the names of branches and tags; a shell must not see any of that.
REF_NAME = re.compile(r"(?!.*\.\.)[\w][\w./-]{0,99}", re.ASCII)


class Place(NamedTuple):
    """Where a course is published."""

    repository: str  # owner/name on GitHub
    ref: str  # the branch or tag that notebooks are opened from, and clone

    def on_github(self, path: str) -> str:
        """The address of a file's page. path: relative to the checkout."""
        return f"https://github.com/{self.repository}/blob/{self.ref}/{path}"

    def in_colab(self, path: str) -> str:
        """The address that opens a notebook in Colab. path: relative to the checkout."""
        return f"{COLAB}/github/{self.repository}/blob/{self.ref}/{path}"

    def on_site(self) -> str:
        """The address of the site, if it's published with GitHub Pages under its usual name."""
        owner, name = self.repository.split("/")
        host = f"{owner.lower()}.github.io"
        if name.lower() == host:
            return f"https://{host}/"
        return f"https://{host}/{name}/"

    def colab_badge(self, path: str) -> str:
        """The badge that opens the notebook at `path` in Colab."""
        return f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({self.in_colab(path)})"

    def badges(self, path: str) -> str:
        """The paragraph with the badges that open the notebook at `path`."""
        file = f"{self.repository}/blob/{self.ref}/{path}"
        studio = "https://studiolab.sagemaker.aws"
        kaggle = "https://kaggle.com"
        return (
            f"{MARKER}\n"
            f"{self.colab_badge(path)}\n"
            f"[![Open in Kaggle]({kaggle}/static/images/open-in-kaggle.svg)]"
            f"({kaggle}/kernels/welcome?src={self.on_github(path)})\n"
            f"[![Open in Studio Lab]({studio}/studiolab.svg)]({studio}/import/github/{file})\n"
            "*(On Kaggle, turn on Internet in the settings of the notebook first.)*"
        )


def repository_from(address: str) -> str:
    """The owner/name in an address as people paste it. Raises ValueError if there is none.

    It may be the address of any page of the repository, as a browser shows it.
    """
    text = address.strip()
    path = HOST.sub("", text)
    if path != text:
        path = "/".join(re.split(r"[?#]", path)[0].split("/")[:2])
    path = path.removesuffix("/").removesuffix(".git")
    if not REPOSITORY.fullmatch(path):
        raise ValueError(
            f"{address!r} isn't an address on GitHub: use owner/name, or the address of its page."
        )
    return path


def find_place(address: str, ref: str) -> Place:
    """The place for an address and a ref; where they're empty, what git says about this checkout.

    Raises ValueError if one of them is missing or isn't possible.
    """
    here = branch()
    if not here and _git("rev-parse", "--git-dir"):
        raise ValueError("No branch is checked out here, so nothing can be pushed: git switch one.")
    ref = ref or here
    if not ref:
        raise ValueError(
            "This folder isn't a git repository of its own. Put the course at the top of one, and "
            "publish there; or name its branch: make publish REF=main"
        )
    if not REF_NAME.fullmatch(ref):
        raise ValueError(f"{ref!r} can't be a branch or a tag here: use letters, digits, . / _ -")
    if ref != here and is_a_branch(ref):
        raise ValueError(f"You're on the branch {here}. First run: git switch {ref}")
    if address:
        return Place(repository_from(address), ref)
    return Place(_origin(), ref)


def branch() -> str:
    """The branch that is checked out, or "" if there's none."""
    return _git("symbolic-ref", "--short", "HEAD")


def is_a_branch(ref: str) -> bool:
    """A branch has this name, here or, when git last asked, at `origin`."""
    for place in ("refs/heads", "refs/remotes/origin"):
        if _git("rev-parse", "--verify", f"{place}/{ref}"):
            return True
    return False


def _origin() -> str:
    """The owner/name that this checkout was cloned from. Raises ValueError if it has none.

    Git's settings can replace the beginning of an address (`insteadOf`), so the one that was typed
    is tried as well as what it stands for.
    """
    typed = _git("config", "--get", "remote.origin.url")
    if not typed:
        raise ValueError("This checkout has no remote: use make publish REPO=owner/name.")
    try:
        return repository_from(typed)
    except ValueError:
        return repository_from(_git("remote", "get-url", "origin"))


def _git(*command: str) -> str:
    """What git prints about this checkout, or "" if it fails.

    A repository that the checkout is only a folder of doesn't count: links lead to its top.
    """
    repository = str(notebooks.FOLDER.parent / ".git")
    done = subprocess.run(
        ["git", "--git-dir", repository, *command], capture_output=True, text=True
    )
    return done.stdout.strip() if done.returncode == 0 else ""
