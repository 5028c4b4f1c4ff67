"""The report's training recipe (1.C, 1.E), written anew from its text: what `course_lib` is
measured against.

It's slow where the report is slow; the course uses nothing of it. The network is the course's own
`MyModel`, which is the report's (1.A, 1.B): both sides train the same one.
"""

import json
import os

import torch
from PIL import Image
from table import rate
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from course_lib import MyModel, get_model
from course_lib.data import shapes


def files(home, size, per_class):
    """The generated data set, its files rewritten as JPEG, like photographs."""
    folder = shapes.generate(home, size, per_class, 1)
    for path in folder.rglob("*.bmp"):
        Image.open(path).save(path.with_suffix(".jpg"), quality=95)
        path.unlink()
    for path in folder.glob("*answer.json"):
        path.write_text(path.read_text().replace(".bmp", ".jpg"))
    return folder


class ReportDataset(Dataset):
    """1.C: a file is opened, decoded and transformed each time its image is asked for, every epoch
    again."""

    def __init__(self, meta_path, root_dir, transform):
        with open(meta_path, encoding="utf-8") as file:
            self.annotations = json.load(file)["annotations"]
        self.root_dir, self.transform = root_dir, transform

    def __len__(self):
        return len(self.annotations)

    def __getitem__(self, index):
        row = self.annotations[index]
        image = Image.open(os.path.join(self.root_dir, row["file_name"])).convert("RGB")
        return self.transform(image), row["category"]


def transform(size, augmented):
    """1.E: resize only, or augmented; the flips and the rotation come after Normalize, so they work
    on floats."""
    to_tensor = [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
    if not augmented:
        return transforms.Compose([transforms.Resize((size, size)), *to_tensor])
    flips = [transforms.RandomHorizontalFlip(), transforms.RandomVerticalFlip()]
    rotation = transforms.RandomRotation(90, expand=False)
    return transforms.Compose(
        [transforms.RandomResizedCrop((size, size)), *to_tensor, *flips, rotation]
    )


def loader(folder, size, augmented, workers, batch=32):
    """1.E: shuffled batches of 32, put together from single images. The report sets no
    `num_workers`: 0."""
    meta_path, root_dir = os.path.join(folder, "answer.json"), os.path.join(folder, "train_data")
    dataset = ReportDataset(meta_path, root_dir, transform(size, augmented))
    return DataLoader(dataset, batch_size=batch, shuffle=True, num_workers=workers)


def trainer(device, batch=32):
    """A function that trains a new model on an iterable of batches: float32, contiguous, SGD (1.E).

    The report calls `.cuda()`; here everything goes to `device`.
    """
    model = get_model(MyModel).to(device)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def train_epoch(batches):
        model.train()
        running_loss, correct = 0.0, 0
        for images, labels in batches:
            images, labels = images.to(device), labels.to(device)
            optimizer.zero_grad()
            outputs = model(images)
            loss = criterion(outputs, labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()  # waits for the device
            predictions = outputs.argmax(1)
            for i in range(
                batch
            ):  # 1.E: range(32); each comparison waits, and a smaller last batch is an IndexError
                if predictions[i] == labels[i]:
                    correct += 1
        return (
            running_loss / 1250,
            correct / 40000,
        )  # 1.E: right for 40,000 images in batches of 32 only

    return train_epoch


def training_rate(folder, size, augmented, workers, batch, count, device):
    """Images per second of `count` batches."""
    return rate(
        trainer(device, batch),
        loader(folder, size, augmented, workers, batch),
        count,
        batch,
        device,
    )
