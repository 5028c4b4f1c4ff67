"""Steps that fp16 skips because a number overflowed: what they leave behind is undone."""

from __future__ import annotations

import torch
from torch import nn


class OverflowGuard:
    """Notices skipped steps, and puts back what BatchNorm has averaged in them.

    The scaler halves its scale and skips the optimizer's step if a gradient isn't finite. The
    forward pass has changed BatchNorm's running averages by then, perhaps to NaN.
    """

    def __init__(self, model: nn.Module, scaler: torch.amp.GradScaler) -> None:
        self.scaler = scaler
        self.scale = scaler.get_scale()  # after the last step
        buffers = list(model.buffers())
        self._averages = [buffer for buffer in buffers if buffer.is_floating_point()]
        self._averages_before = [buffer.clone() for buffer in self._averages]

    def undo_skipped_step(self) -> bool:
        """If the last step was skipped, undo what BatchNorm has averaged in it; return whether."""
        scale = self.scaler.get_scale()
        overflowed = scale < self.scale
        self.scale = scale
        if overflowed:
            _copy(source=self._averages_before, target=self._averages)
        else:
            _copy(source=self._averages, target=self._averages_before)
        return overflowed


def _copy(source: list[torch.Tensor], target: list[torch.Tensor]) -> None:
    """Copy tensors, in one operation."""
    if source:  # a model may have no BatchNorm
        torch._foreach_copy_(target, source)  # pyright: ignore
