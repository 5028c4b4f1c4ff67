"""The report's two data sets, image by image (report 1.C, 1.D)."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset
from torchvision.transforms import ToTensor

from .data.answers import read_answer
from .data.images import images_among, upright_rgb
from .errors import brief


class MyDataset(Dataset):
    """The labelled training images, `(image, label)`, in the order of `answer.json` (report 1.C).

    meta_path: the `answer.json`. root_dir: the folder of its images. transform: PIL image →
    anything; None gives a float32 tensor (3, H, W) in [0, 1]. Indices are those of a list: −1 is
    the last image, and beyond the ends there's an IndexError. Raises DataError with the row if a
    label or an image is wrong.
    """

    def __init__(
        self,
        meta_path: str | Path,
        root_dir: str | Path,
        transform: Callable[..., Any] | None = None,
    ) -> None:
        self.root_dir = Path(root_dir)
        self.transform = transform or ToTensor()
        self.rows = read_answer(Path(meta_path).read_bytes(), Path(meta_path).name)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        name, label = self.rows[index]
        path = self.root_dir / name
        if not path.exists():  # a Mac spells 가 in two characters
            path = self.root_dir / unicodedata.normalize("NFD", name)
        image = upright_rgb(path, f"{brief(name)} (row {index % len(self)})")
        return self.transform(image), label


class MyDatasett(Dataset):
    """The test images, `(image, file_name)`, in natural order: 2 before 10 (report 1.D).

    The spelling is the report's. meta_path: not used, as in the report. root_dir: the folder of
    the images; `skipped` lists its other files. transform, indices: as in MyDataset. Raises
    DataError.
    """

    def __init__(
        self,
        meta_path: str | Path | None,
        root_dir: str | Path,
        transform: Callable[..., Any] | None = None,
    ) -> None:
        self.root_dir = Path(root_dir)
        self.transform = transform or ToTensor()
        files = [path.name for path in self.root_dir.iterdir() if path.is_file()]
        self.file_names, self.skipped = images_among(files)

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> tuple[Any, str]:
        name = self.file_names[index]
        image = upright_rgb(self.root_dir / name, brief(name))
        return self.transform(image), name
