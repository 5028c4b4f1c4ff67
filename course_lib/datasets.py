"""The report's two data sets, image by image (report 1.C, 1.D)."""

import unicodedata
from pathlib import Path

from torch.utils.data import Dataset
from torchvision.transforms import ToTensor

from .data.answers import images_among, read_answer
from .data.images import upright_rgb


class MyDataset(Dataset):
    """The labelled training images, `(image, label)`, in the order of `answer.json` (report 1.C).

    meta_path: the `answer.json`. root_dir: the folder of its images. transform: PIL image →
    anything; None gives a float32 tensor (3, H, W) in [0, 1]. Raises DataError with the row if a
    label or an image is wrong.
    """

    def __init__(self, meta_path, root_dir, transform=None):
        self.root_dir, self.transform = Path(root_dir), transform or ToTensor()
        self.rows = read_answer(Path(meta_path).read_bytes(), Path(meta_path).name)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        name, label = self.rows[index]
        as_on_a_mac = self.root_dir / unicodedata.normalize(
            "NFD", name
        )  # which spells 가 in two characters
        path = as_on_a_mac if as_on_a_mac.exists() else self.root_dir / name
        return self.transform(upright_rgb(path, f"{name} (row {range(len(self))[index]})")), label


class MyDatasett(Dataset):
    """The test images, `(image, file_name)`, in natural order: 2 before 10 (report 1.D, and its
    spelling).

    meta_path: not used, as in the report. root_dir: the folder of the images; `skipped` lists its
    other files. transform: as in MyDataset. Raises DataError.
    """

    def __init__(self, meta_path, root_dir, transform=None):
        self.root_dir, self.transform = Path(root_dir), transform or ToTensor()
        self.file_names, self.skipped = images_among(
            path.name for path in self.root_dir.iterdir() if path.is_file()
        )

    def __len__(self):
        return len(self.file_names)

    def __getitem__(self, index):
        name = self.file_names[index]
        return self.transform(upright_rgb(self.root_dir / name, name)), name
