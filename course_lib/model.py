"""The report's classifier: a bottleneck block that doubles its width, stacked to 41 weighted layers (1.A, 1.B)."""

import os

import torch
from torch import nn

from .data.answers import CLASSES
from .errors import CheckpointError


class res_block(nn.Module):
    """A residual bottleneck block, (B, in_, H, W) → (B, 2·out_, H/stride, W/stride). Source: report 1.B.

    1×1 conv to out_, 3×3 conv with `stride`, 1×1 conv to 2·out_, each with BatchNorm; the input is added before the
    last ReLU. `shortway` is the identity if the shapes agree, and otherwise a 1×1 conv that makes them agree.
    """

    def __init__(self, in_, out_, stride=1):
        super().__init__()
        self.conv1 = nn.Sequential(nn.Conv2d(in_, out_, 1, bias=False), nn.BatchNorm2d(out_), nn.ReLU())
        self.conv2 = nn.Sequential(
            nn.Conv2d(out_, out_, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(out_), nn.ReLU()
        )
        self.conv3 = nn.Sequential(nn.Conv2d(out_, out_ * 2, 1, bias=False), nn.BatchNorm2d(out_ * 2))
        self.shortway = nn.Sequential()
        if stride != 1 or in_ != out_ * 2:
            self.shortway = nn.Sequential(
                nn.Conv2d(in_, out_ * 2, 1, stride=stride, bias=False), nn.BatchNorm2d(out_ * 2)
            )
        self.relu = nn.ReLU()

    def forward(self, x):
        main = self.conv3(self.conv2(self.conv1(x)))
        return self.relu(main + self.shortway(x))


class MyModel(nn.Module):
    """The report's network: images (B, 3, S, S) in [-1, 1], S ≥ 32 → logits (B, 80). Source: report 1.A.

    `res_block` is an argument, so that you can put another block with the same signature in its place.
    """

    def __init__(self, res_block):
        super().__init__()
        self.conv1 = nn.Sequential(  # (B, 64, S/4, S/4)
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.conv2 = nn.Sequential(  # (B, 128, S/4, S/4)
            res_block(64, 64, 1), res_block(128, 64, 1)
        )
        self.conv3 = nn.Sequential(  # (B, 256, S/8, S/8)
            res_block(128, 128, 2), *(res_block(256, 128, 1) for _ in range(2))
        )
        self.conv4 = nn.Sequential(  # (B, 512, S/16, S/16)
            res_block(256, 256, 2), *(res_block(512, 256, 1) for _ in range(4))
        )
        self.conv5 = nn.Sequential(  # (B, 1024, S/32, S/32)
            res_block(512, 512, 2), *(res_block(1024, 512, 1) for _ in range(2))
        )
        self.pool = nn.AdaptiveAvgPool2d((1, 1))  # (B, 1024, 1, 1)
        self.fc = nn.Linear(1024, CLASSES)

    def forward(self, x):
        x = self.conv1(x)
        x = self.conv2(x)
        x = self.conv3(x)
        x = self.conv4(x)
        x = self.conv5(x)
        x = self.pool(x).flatten(1)  # (B, 1024)
        return self.fc(x)  # (B, 80)


def get_model(model_class, checkpoint_path=None, seed=0):
    """Build `model_class(res_block)` and load the weights of `checkpoint_path` if that file exists (report 1.E, 1.F).

    checkpoint_path: a `model.pth`, that is a `state_dict`, with or without DataParallel's prefix `module.`. Without
    it, the weights are new and depend on `seed` alone, never on the global random state. Returns the model on the CPU,
    in training mode. Raises CheckpointError if the file doesn't fit. Nothing in it is executed.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed the CUDA devices as well
        model = model_class(res_block)
    if checkpoint_path is not None and os.path.exists(checkpoint_path):
        load_weights(model, checkpoint_path)
    return model


def load_weights(model, checkpoint_path):
    """Load a `model.pth` into `model`; raises CheckpointError and leaves the model as it was if it doesn't fit."""
    expected = {name: value.shape for name, value in model.state_dict().items()}
    try:
        weights = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
        weights = {name.removeprefix("module."): value.to_dense() for name, value in weights.items()}
        found = {name: value.shape for name, value in weights.items()}
    except Exception as error:  # torch.load raises whatever damaged bytes lead to
        raise CheckpointError(
            f"{checkpoint_path} is damaged, or wasn't saved with torch.save(model.state_dict(), …)."
        ) from error
    for name in [*expected, *found]:
        if found.get(name) != expected.get(name):
            has, needs = (
                f"no {name}" if shape is None else f"{name} of shape {tuple(shape)}"
                for shape in (found.get(name), expected.get(name))
            )
            raise CheckpointError(f"{checkpoint_path} isn't for {type(model).__name__}: it has {has}, not {needs}.")
    model.load_state_dict(weights)
