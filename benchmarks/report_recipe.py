"""The report's training recipe (1.C, 1.E), written anew: what `course_lib` is measured against.

It's slow where the report is slow; the course uses nothing of it. The network is the course's own
`MyModel`, which is the report's (1.A, 1.B): both sides train the same one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from table import rate
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from course_lib import MyModel, get_model
from course_lib.data import shapes


def files(home: Path, size: int, per_class: int) -> Path:
    """The generated data set, its files rewritten as JPEG, like photographs."""
    folder = shapes.generate(home, size, per_class, 1)
    for path in folder.rglob("*.bmp"):
        Image.open(path).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    for path in folder.glob("*answer.json"):
        names = path.read_text(encoding="utf-8").replace(".bmp", ".jpg")
        path.write_text(names, encoding="utf-8")
    return folder


class ReportDataset(Dataset):
    """1.C: a file is opened, decoded and transformed each time its image is asked for."""

    def __init__(self, meta_path: str, root_dir: str, transform: Callable[[Any], Any]):
        with open(meta_path, encoding="utf-8") as file:
            self.annotations = json.load(file)["annotations"]
        self.root_dir = root_dir
        self.transform = transform

    def __len__(self) -> int:
        return len(self.annotations)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        row = self.annotations[index]
        image = Image.open(os.path.join(self.root_dir, row["file_name"])).convert("RGB")
        return self.transform(image), row["category"]


def transform(size: int, augmented: bool) -> transforms.Compose:
    """1.E: resize only, or augmented; flips and rotation come after Normalize, on floats."""
    mean = std = (0.5, 0.5, 0.5)
    to_tensor = [transforms.ToTensor(), transforms.Normalize(mean, std)]
    if not augmented:
        return transforms.Compose([transforms.Resize((size, size)), *to_tensor])
    flips = [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()]
    rotation = transforms.RandomRotation(90, expand=False)
    crop = transforms.RandomResizedCrop((size, size))
    return transforms.Compose([crop, *to_tensor, *flips, rotation])


def dataset(folder: Path, size: int, augmented: bool) -> ReportDataset:
    """The training images of a folder that `files` wrote."""
    meta_path = os.path.join(folder, "answer.json")
    root_dir = os.path.join(folder, "train_data")
    return ReportDataset(meta_path, root_dir, transform(size, augmented))


def loader(folder: Path, size: int, augmented: bool, workers: int, batch: int = 32) -> DataLoader:
    """1.E: shuffled batches of 32, put together from single images.

    The report sets no `num_workers`: 0.
    """
    images = dataset(folder, size, augmented)
    return DataLoader(images, batch_size=batch, shuffle=True, num_workers=workers)


def trainer(
    device: torch.device, batch: int = 32
) -> Callable[[Iterable[tuple[torch.Tensor, torch.Tensor]]], tuple[float, float]]:
    """A function that trains a new model on an iterable of batches: float32, contiguous, SGD (1.E).

    The report calls `.cuda()`; here everything goes to `device`.
    """
    model = get_model(MyModel).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def train_epoch(batches):
        model.train()
        running_loss = 0.0
        correct = 0
        for images, labels in batches:
            images = images.to(device)
            labels = labels.to(device)
            optimizer.zero_grad()
            outputs = model(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()  # waits for the device
            predictions = outputs.argmax(1)
            # 1.E: range(32). Each comparison waits, and a smaller last batch is an IndexError.
            for i in range(batch):
                if predictions[i] == labels[i]:
                    correct += 1
        # 1.E: right for 40,000 images in batches of 32 only
        return running_loss / 1250, correct / 40000

    return train_epoch


def training_rate(
    folder: Path,
    size: int,
    augmented: bool,
    workers: int,
    batch: int,
    count: int,
    device: torch.device,
) -> float:
    """Images per second of `count` batches."""
    batches = loader(folder, size, augmented, workers, batch)
    return rate(trainer(device, batch), batches, count, batch, device)
