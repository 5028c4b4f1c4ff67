"""`data_manifest.json`: which data sets there are, and how each one gets onto this machine."""

import json
import os
import re
import socket
import unicodedata
from difflib import get_close_matches
from http.client import HTTPException
from pathlib import Path

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from torchvision.datasets.utils import check_integrity, download_url

from ..errors import DataError
from ..storage.files import require_mounted
from . import shapes

_HERE = Path(__file__).resolve()
_PLACES = [folder / "data_manifest.json" for folder in _HERE.parents[1:3]]  # in a wheel, in a checkout
MANIFEST = next(filter(Path.exists, _PLACES), _PLACES[-1])
PATIENCE = 30  # seconds without a byte before a mirror counts as dead


def read_manifest():
    """Read and check the manifest: {name: entry}. Raises DataError that names the entry and the key."""
    schema = json.loads(_HERE.with_name("manifest_schema.json").read_bytes())
    try:
        manifest = json.loads(MANIFEST.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{MANIFEST.name} can't be read as JSON ({error}). Restore it from the repository.") from error
    if error := best_match(Draft202012Validator(schema).iter_errors(manifest)):
        raise DataError(f"{MANIFEST.name}, {'.'.join(map(str, error.absolute_path))}: {error.message[:300]}")
    return manifest


def locate(data, settings, home):
    """Find a data set, generated or downloaded first if need be: (absolute path, short name for folders, layout).

    data: a name in the manifest, or the path of a folder or archive. settings: size, seed and images_per_class of
    generated data. home: a local folder. Raises DataError if there is no such data set, or no mirror has it.
    """
    manifest, folder, path = read_manifest(), Path(home) / "data", Path(data).expanduser()
    entry = manifest.get(data, {})
    if entry.get("layout") == "generated":
        made = shapes.generate(folder, settings.size, *settings.images_per_class, settings.seed)
        return made.resolve(), data, "report"
    if "archive" in entry:
        return _fetch(entry, folder / entry["archive"]["file"]).resolve(), data, entry["layout"]
    require_mounted(path)
    if entry or not os.path.exists(path):
        names = [name for name, entry in manifest.items() if "archive" in entry or entry["layout"] == "generated"]
        near = get_close_matches(path.name, names + (os.listdir(path.parent) if path.parent.is_dir() else []), 1)
        raise DataError(
            f"There is no data set {data!r}{f'; did you mean {near[0]!r}?' if near else '.'} Give one of "
            f"{', '.join(names)}, or the path of a folder, .zip, .tar or .tar.gz in the report's layout."
        )
    name = unicodedata.normalize("NFC", path.resolve().name)
    name = re.sub(r"\.(zip|tar|tar\.gz|tgz)$", "", name, flags=re.IGNORECASE)
    return path.resolve(), re.sub(r"[^\w.+-]", "_", name)[:60] or "data", "report"


def _fetch(entry, target):
    """`target`, downloaded from the first mirror that has it whole: it gets its name after its MD5 was checked."""
    md5, part, failure = entry["archive"]["md5"], target.with_name(f".{target.name}.{os.getpid()}.tmp"), ""
    if check_integrity(target, md5):
        return target
    if target.exists():  # put there by hand
        raise DataError(f"{target} is damaged, or another file: its MD5 isn't {md5}. Delete it, or replace it.")
    size, patience = entry["archive"]["bytes"] / 1e6, socket.getdefaulttimeout()
    print(f"{entry['title']}: {size:,.0f} MB. Licence: {entry['licence']}; {entry['terms']}.")
    socket.setdefaulttimeout(PATIENCE)  # download_url sets none: a silent mirror would block for ever
    try:
        for address in entry["archive"]["mirrors"]:
            try:
                download_url(address, part.parent, part.name, md5)
                os.replace(part, target)
                return target
            except (OSError, RuntimeError, HTTPException, ValueError) as error:
                failure = f"{address}: {error}"
                print(failure, flush=True)
    finally:
        socket.setdefaulttimeout(patience)
        part.unlink(missing_ok=True)
    advice = f"Download it with a browser (see {entry['source']}) and save it as {target}."
    raise DataError(f"{target.name} couldn't be downloaded ({failure}). {advice}")
