"""`data_manifest.json`: which data sets there are, and how each one gets onto this machine."""

import json
import os
import re
import unicodedata
from difflib import get_close_matches
from http.client import HTTPException
from pathlib import Path

from torchvision.datasets.utils import download_url

from ..errors import DataError, DiskError
from ..storage.files import require_mounted
from . import shapes

_IN_WHEEL, _IN_CHECKOUT = (folder / "data_manifest.json" for folder in Path(__file__).resolve().parents[1:3])
MANIFEST = _IN_WHEEL if _IN_WHEEL.exists() else _IN_CHECKOUT  # tests/manifest_schema.json says what it may hold


def locate(data, settings, home):
    """Find a data set, generated or downloaded first if need be: (absolute path, short name for folders, layout).

    data: a name in the manifest, or the path of a folder or archive. settings: size, seed and images_per_class of
    generated data. home: a local folder. Raises DataError if there is no such data set, or no mirror has it.
    """
    manifest = json.loads(MANIFEST.read_bytes())
    folder, path = Path(home) / "data", Path(data).expanduser()
    entry = manifest.get(data, {})
    if entry.get("layout") == "generated":
        try:
            path = shapes.generate(folder, settings.size, *settings.images_per_class, settings.seed)
        except OSError as error:
            where = "Free some space, or set COURSE_HOME to another folder."
            raise DiskError(f"{folder} can't be written ({error.strerror or error}). {where}") from error
        return path.resolve(), data, "report"
    if "archive" in entry:
        return _fetch(entry, folder).resolve(), data, entry["layout"]
    require_mounted(path)
    if not os.path.exists(path):
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
