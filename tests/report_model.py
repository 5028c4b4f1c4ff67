"""The report's two classes (1.A, 1.B) once more, written from its text and apart from `course_lib`:
what a reader's own notebook would save a `model.pth` with. The attributes' names are the
report's."""

from torch import nn


def unit(into, out, kernel, stride=1, padding=0):
    return [nn.Conv2d(into, out, kernel, stride, padding, bias=False), nn.BatchNorm2d(out)]


class ReportBlock(nn.Module):
    def __init__(self, in_, out_, stride=1):
        super().__init__()
        self.conv1 = nn.Sequential(*unit(in_, out_, 1), nn.ReLU())
        self.conv2 = nn.Sequential(*unit(out_, out_, 3, stride, 1), nn.ReLU())
        self.conv3 = nn.Sequential(*unit(out_, 2 * out_, 1))
        changes = stride != 1 or in_ != 2 * out_
        self.shortway = nn.Sequential(*(unit(in_, 2 * out_, 1, stride) if changes else []))
        self.relu = nn.ReLU()

    def forward(self, x):
        before = x
        x = self.conv3(self.conv2(self.conv1(x)))
        x += self.shortway(before)
        return self.relu(x)


class ReportModel(nn.Module):
    def __init__(self, block):
        super().__init__()
        self.conv1 = nn.Sequential(*unit(3, 64, 7, 2, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1))
        into = 64
        for name, out, blocks, stride in (
            ("conv2", 64, 2, 1),
            ("conv3", 128, 3, 2),
            ("conv4", 256, 5, 2),
            ("conv5", 512, 3, 2),
        ):
            row = [block(into, out, stride)] + [block(2 * out, out, 1) for _ in range(blocks - 1)]
            setattr(self, name, nn.Sequential(*row))
            into = 2 * out
        self.pool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(into, 80)

    def forward(self, x):
        for stage in (self.conv1, self.conv2, self.conv3, self.conv4, self.conv5, self.pool):
            x = stage(x)
        return self.fc(x.view(x.size(0), -1))
