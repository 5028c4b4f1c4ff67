"""Archives from the network: to a temporary name, verified, and only then under their own."""

import errno
import hashlib
import http.client
import os
import socket
from contextlib import contextmanager
from urllib.parse import urlsplit

import torch

from .errors import DataError
from .files import need_space

PATIENCE = 30  # seconds without a byte, after which a mirror counts as dead


def fetch(entry, folder):
    """The archive of a manifest's entry, as a path in `folder`; downloaded where it is not there yet.

    The mirrors are tried in their order. What arrives is compared with the entry's size and checksum before it gets
    its name; what differs is deleted, and said. Raises DataError, with what to do by hand, where no mirror has it.
    """
    archive, target = entry["archive"], folder / entry["archive"]["file"]
    if target.exists():  # put there by hand, or by us; `open_source` verifies it before anything is read from it
        return target
    print(f"{entry['title']}: {archive['bytes'] / 1e6:,.0f} MB, licence: {entry['licence']}; {entry['terms']}.")
    need_space(folder, archive["bytes"], archive["file"])
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    failures = []
    for address in archive["mirrors"]:
        try:
            with _patience():
                torch.hub.download_url_to_file(address, str(part))
            with open(part, "rb") as file:
                verify(file, archive, f"What {urlsplit(address).hostname} sent as {target.name}", "It was deleted.")
            os.replace(part, target)
            return target
        except DataError as error:
            failures.append(str(error))
        except (OSError, http.client.HTTPException, ValueError) as error:  # HTTP errors and time-outs are OSErrors
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise DataError(f"The disk of {folder} is full: free some space and try again.") from error
            failures.append(f"{address} does not answer as it should ({error}).")
        finally:
            part.unlink(missing_ok=True)
        print(failures[-1], flush=True)
    raise DataError(
        f"{target.name} could not be downloaded: all {len(failures)} of its mirrors failed. Download it with a browser "
        f"(source: {entry['source']}) and put it as {target}; it is verified when it is opened."
    )


def verify(file, archive, name, advice):
    """Compare an open binary file with the size and the checksum of a manifest's `archive`. Raises DataError.

    name, advice: what the message calls the file, and what it says to do.
    """
    size = file.seek(0, os.SEEK_END)
    if size != archive["bytes"]:
        raise DataError(f"{name} has {size:,} bytes, not {archive['bytes']:,}: cut short, or another file. {advice}")
    method = "sha256" if "sha256" in archive else "md5"
    file.seek(0)
    found = hashlib.file_digest(file, method).hexdigest()
    if found != archive[method]:
        raise DataError(f"{name} has the {method} {found}, not {archive[method]}: damaged, or another file. {advice}")
    file.seek(0)


@contextmanager
def _patience():
    """torch's download sets no time-out of its own, and a mirror that says nothing would hold us for ever."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(PATIENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
