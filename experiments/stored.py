"""What the course keeps in `results/`: measurements that take hours, as JSON in a folder for their
data and preset."""

import json
from statistics import mean, stdev

from course_lib import read_results
from course_lib.experiment import CHECKOUT
from course_lib.storage.files import write_json


def keep(course, name, content):
    """Write `content`, a dict, to `results/<run>/<name>`, with the data, settings, device and
    commit it belongs to."""
    about = {
        key: value for key, value in read_results(course).items() if key not in ("seed", "stages")
    }
    del about["settings"]["seed"]  # the content may have several
    run = course.data.name if course.preset == "full" else f"{course.data.name}-{course.preset}"
    write_json(CHECKOUT / "results" / run / name, about | content)


def kept(name):
    """What lies in `results/` under this name: {run: content}."""
    paths = sorted((CHECKOUT / "results").glob(f"*/{name}"))
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}


def spread(shares):
    """Mean and standard deviation of shares in [0, 1], in percent: "48.8 ± 7.1%"; of a single one,
    only itself."""
    deviation = f" ± {100 * stdev(shares):.1f}" if len(shares) > 1 else ""
    return f"{100 * mean(shares):.1f}{deviation}%"
