"""The report's classifier: bottleneck blocks, stacked to 41 weighted layers (1.A, 1.B)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from .storage.weights import load_weights


class res_block(nn.Module):
    """A residual bottleneck block: (B, in_, H, W) → (B, 2·out_, H/stride, W/stride) (report 1.B).

    1×1 conv to out_, 3×3 conv with `stride`, 1×1 conv to 2·out_, each with BatchNorm; the input is
    added before the last ReLU. `shortway` is the identity if the shapes agree, and otherwise a 1×1
    conv that makes them agree.
    """

    def __init__(self, in_: int, out_: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv2d(in_, out_, 1, bias=False), nn.BatchNorm2d(out_), nn.ReLU()
        )
        self.conv2 = nn.Sequential(
            nn.Conv2d(out_, out_, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(out_),
            nn.ReLU(),
        )
        self.conv3 = nn.Sequential(
            nn.Conv2d(out_, out_ * 2, 1, bias=False), nn.BatchNorm2d(out_ * 2)
        )
        self.shortway = nn.Sequential()
        if stride != 1 or in_ != out_ * 2:
            self.shortway = nn.Sequential(
                nn.Conv2d(in_, out_ * 2, 1, stride=stride, bias=False), nn.BatchNorm2d(out_ * 2)
            )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        main = self.conv3(self.conv2(self.conv1(x)))
        return self.relu(main + self.shortway(x))


class MyModel(nn.Module):
    """The report's network: images (B, 3, S, S) in [-1, 1], S ≥ 32 → logits (B, classes) (1.A).

    `res_block` is an argument, so that you can put another block with the same signature in its
    place. classes: how many there are; the report has 80.
    """

    def __init__(self, res_block: type[nn.Module], classes: int = 80):
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        self.conv2 = nn.Sequential(res_block(64, 64, 1), res_block(128, 64, 1))
        self.conv3 = nn.Sequential(
            res_block(128, 128, 2), *(res_block(256, 128, 1) for _ in range(2))
        )
        self.conv4 = nn.Sequential(
            res_block(256, 256, 2), *(res_block(512, 256, 1) for _ in range(4))
        )
        self.conv5 = nn.Sequential(
            res_block(512, 512, 2), *(res_block(1024, 512, 1) for _ in range(2))
        )
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(1024, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)  # (B, 64, S/4, S/4)
        x = self.conv2(x)  # (B, 128, S/4, S/4)
        x = self.conv3(x)  # (B, 256, S/8, S/8)
        x = self.conv4(x)  # (B, 512, S/16, S/16)
        x = self.conv5(x)  # (B, 1024, S/32, S/32)
        x = self.pool(x).flatten(1)  # (B, 1024)
        return self.fc(x)  # (B, classes)


class plain_block(res_block):
    """`res_block` without its short-cut, to test the report's claim in 2.B."""

    def __init__(self, in_: int, out_: int, stride: int = 1):
        super().__init__(in_, out_, stride)
        del self.shortway

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv3(self.conv2(self.conv1(x))))


class two_conv_block(res_block):
    """Two 3×3 convolutions of full width instead of the bottleneck, to test the claim in 2.C."""

    def __init__(self, in_: int, out_: int, stride: int = 1):
        super().__init__(in_, out_, stride)
        del self.conv3
        wide = out_ * 2
        self.conv1 = nn.Sequential(
            nn.Conv2d(in_, wide, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(wide),
            nn.ReLU(),
        )
        self.conv2 = nn.Sequential(
            nn.Conv2d(wide, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide)
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv2(self.conv1(x)) + self.shortway(x))


class ConstantWidth(MyModel):
    """256 channels in every block, for about as many multiplications: to test the claim in 2.D."""

    def __init__(self, res_block: type[nn.Module], classes: int = 80):
        super().__init__(res_block, classes)
        self.conv2 = nn.Sequential(res_block(64, 128, 1), res_block(256, 128, 1))
        self.conv3 = nn.Sequential(
            res_block(256, 128, 2), *(res_block(256, 128, 1) for _ in range(2))
        )
        self.conv4 = nn.Sequential(
            res_block(256, 128, 2), *(res_block(256, 128, 1) for _ in range(4))
        )
        self.conv5 = nn.Sequential(
            res_block(256, 128, 2), *(res_block(256, 128, 1) for _ in range(2))
        )
        self.fc = nn.Linear(256, classes)


def get_model(
    model_class: Callable[[type[nn.Module], int], nn.Module],
    checkpoint_path: str | os.PathLike[str] | None = None,
    seed: int = 0,
    block: type[nn.Module] = res_block,
    classes: int = 80,
) -> nn.Module:
    """Build `model_class(block, classes)`, with the weights of a file if it exists (report 1.E).

    checkpoint_path: a `model.pth`, that is a `state_dict`; also one of DataParallel or
    torch.compile, or inside a checkpoint. Without it, the weights are new and depend on `seed`
    alone, never on the global random state; if it's missing, a message says so. Returns the model
    on the CPU, in training mode. Raises CheckpointError if the weights don't fit or aren't finite.
    Nothing in the file is executed.
    """
    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would seed the CUDA devices as well.
        torch.default_generator.manual_seed(seed)
        model = model_class(block, classes)
    if checkpoint_path is None:
        return model
    if os.path.exists(checkpoint_path):
        load_weights(model, checkpoint_path)
    else:  # as in the report, whose first run has no checkpoint yet
        print(f"There is no {os.fspath(checkpoint_path)}: the weights are new.")
    return model


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put a model into eval mode for a while; then, each module gets its own mode back."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in modes.items():
            module.training = training
