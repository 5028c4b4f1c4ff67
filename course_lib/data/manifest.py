"""`data_manifest.json`: which data sets there are, and how to get each one onto this machine."""

import json
import re
import unicodedata
from http.client import HTTPException
from pathlib import Path

from torchvision.datasets.utils import download_url

from ..errors import DataError
from ..storage.files import require_mounted
from . import shapes

_IN_WHEEL, _IN_CHECKOUT = (
    folder / "data_manifest.json" for folder in Path(__file__).resolve().parents[1:3]
)
MANIFEST = (
    _IN_WHEEL if _IN_WHEEL.exists() else _IN_CHECKOUT
)  # tests/manifest_schema.json says what it may hold


def locate(data, settings, home):
    """Find a data set, generated or downloaded first if need be: (absolute path, short name for
    folders, layout).

    data: a name in the manifest, or the path of a folder or archive. settings: size, seed and
    images_per_class of generated data. home: a local folder. Raises DataError if there is no such
    data set, or no mirror has it.
    """
    manifest, folder = json.loads(MANIFEST.read_bytes()), Path(home).resolve() / "data"
    entry = manifest.get(data, {})
    if entry.get("layout") == "generated":
        return (
            shapes.generate(folder, settings.size, *settings.images_per_class, settings.seed),
            data,
            "report",
        )
    if "archive" in entry:
        return _fetch(entry, folder), data, entry["layout"]
    path = Path(data).expanduser()
    require_mounted(path)
    path = path.resolve()
    if not path.exists():
        names = ", ".join(name for name in manifest if name != "folder")
        raise DataError(
            f"There is no data set {data!r}. Use {names}, or the path of a folder, .zip, .tar or .tar.gz."
        )
    name = re.sub(
        r"\.(zip|tar|tar\.gz|tgz)$",
        "",
        unicodedata.normalize("NFC", path.name),
        flags=re.IGNORECASE,
    )
    return path, re.sub(r"[^\w.+-]", "_", name)[:60] or "data", "report"


def _fetch(entry, folder):
    """The archive of an entry in `folder`, downloaded from the first mirror whose file has the
    right MD5."""
    archive, path = entry["archive"], folder / entry["archive"]["file"]
    if not path.exists():
        print(
            f"{entry['title']}: {archive['bytes'] / 1e6:,.0f} MB. Licence: {entry['licence']}; {entry['terms']}."
        )
    for address in archive["mirrors"]:
        try:
            download_url(
                address, folder, path.name, archive["md5"]
            )  # does nothing if the file is right
            return path
        except (OSError, RuntimeError, HTTPException) as error:
            print(f"{address}: {error}", flush=True)
    advice = f"Download it with a browser (see {entry['source']}) and save it as {path}."
    raise DataError(
        f"{path.name} couldn't be downloaded; each mirror's error is printed above. {advice}"
    )
