"""Train three augmented batches and print the process's peak memory in MB.

    python peak.py ours|report PIXELS BATCH FOLDER

Importing torch alone takes some hundreds.
"""

import itertools
import resource
import sys
from pathlib import Path

import report_recipe
from places import Place, Plan, Size

BATCHES = 3


def main(whose: str, pixels: int, batch: int, folder: Path) -> None:
    """Train as `whose` says: "ours" or "report"."""
    place = Place(Plan(batch=batch), Size(pixels, BATCHES, BATCHES), folder)
    if whose == "ours":
        place.train("augmented", BATCHES * batch, epochs=1)
    else:
        train_epoch = report_recipe.trainer(place.device, batch)
        train_epoch(itertools.islice(place.loader("augmented", workers=0), BATCHES))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    if sys.platform == "darwin":
        print(peak / 1e6)  # it's in bytes
    else:
        print(peak * 1024 / 1e6)  # it's in KiB


if __name__ == "__main__":
    _, whose, pixels, batch, folder = sys.argv
    main(whose, int(pixels), int(batch), Path(folder))
