"""`data_manifest.json`: which data sets there are, and how each one gets onto this machine."""

import json
import os
import re
import unicodedata
from difflib import get_close_matches
from http.client import HTTPException
from pathlib import Path

from torchvision.datasets.utils import download_url

from ..errors import DataError
from ..storage.files import require_mounted
from . import shapes

_HERE = Path(__file__).resolve()
_PLACES = [folder / "data_manifest.json" for folder in _HERE.parents[1:3]]  # in a wheel, in a checkout
MANIFEST = next(filter(Path.exists, _PLACES), _PLACES[-1])


def read_manifest():
    """Read and check the manifest: {name: entry}. Raises DataError that names the entry and the key."""
    from jsonschema import Draft202012Validator, exceptions  # takes a second to import

    schema = json.loads(_HERE.with_name("manifest_schema.json").read_bytes())
    manifest = json.loads(MANIFEST.read_bytes())
    if error := exceptions.best_match(Draft202012Validator(schema).iter_errors(manifest)):
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
        path = shapes.generate(folder, settings.size, *settings.images_per_class, settings.seed)
        return path.resolve(), data, "report"
    if "archive" in entry:
        return _fetch(entry, folder).resolve(), data, entry["layout"]
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


def _fetch(entry, folder):
    """The archive of an entry in `folder`, downloaded from the first mirror whose file has the right MD5."""
    archive, path = entry["archive"], folder / entry["archive"]["file"]
    if not path.exists():
        print(f"{entry['title']}: {archive['bytes'] / 1e6:,.0f} MB. Licence: {entry['licence']}; {entry['terms']}.")
    for address in archive["mirrors"]:
        try:
            download_url(address, folder, path.name, archive["md5"])  # does nothing if the file is right
            return path
        except (OSError, RuntimeError, HTTPException) as error:
            print(f"{address}: {error}", flush=True)
    raise DataError(
        f"{path.name} couldn't be downloaded; each mirror's problem is printed above. Download it with a browser (see "
        f"{entry['source']}) and save it as {path}."
    )
