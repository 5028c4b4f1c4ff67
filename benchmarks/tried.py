"""What was tried to make a training step faster on a CPU, each against the course's own way; prints a table.

Every variant trains one resident batch in a process of its own, since some of them cannot be undone; the variants take
turns.
"""

import argparse
import subprocess
import sys
import time
from statistics import median

import torch
import torch.nn.functional as F
from table import interleaved, machine

from course_lib import MyModel, get_model
from course_lib.device import choose_precision, prepare

OURS = "the course's way"
VARIANTS = {
    OURS: "bf16 autocast, channels last, freed memory is kept, SGD tensor by tensor",
    "memory given back": "glibc's default: freed memory goes back to the system",
    "fused SGD": "one kernel for weight, momentum and gradient",
    "foreach SGD": "SGD on lists of tensors",
    "weights contiguous": "only the images are channels last",
    "all contiguous": "no channels last at all",
    "weights in bf16": "no float32 weights, so nothing is cast: other arithmetic, an upper limit only",
    "fp32": "no bf16",
}


def steps(variant, count, batch, size):
    """Images a second of `count` training steps."""
    device = torch.device("cpu")
    if variant != "memory given back":
        prepare(device)
    precision = choose_precision(device, "fp32" if variant == "fp32" else "auto")
    layout = torch.contiguous_format if variant == "all contiguous" else torch.channels_last
    model = get_model(MyModel)
    if variant != "weights contiguous":
        model.to(memory_format=layout)
    images, labels = torch.randn(batch, 3, size, size).contiguous(memory_format=layout), torch.arange(batch)
    if variant == "weights in bf16":
        model, images, precision = model.bfloat16(), images.bfloat16(), choose_precision(device, "fp32")
    options = {"fused SGD": {"fused": True}, "foreach SGD": {"foreach": True}}.get(variant, {})
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, **options)
    for step in range(-2, count):  # the first two allocate memory
        if step == 0:
            start = time.perf_counter()
        with precision.autocast():
            loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
    return count * batch / (time.perf_counter() - start)


def main():
    """Print the table; or, as a child, the images a second of one variant."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--variant", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.variant:
        print(steps(chosen.variant, chosen.steps, chosen.batch, chosen.size))
        return
    arguments = [f"--{name}={getattr(chosen, name)}" for name in ("size", "steps", "batch")]

    def fresh(variant):
        return float(subprocess.check_output([sys.executable, __file__, *arguments, f"--variant={variant}"]))

    turns = {variant: lambda _, variant=variant: fresh(variant) for variant in VARIANTS}
    figures = interleaved(f"{chosen.size} px", chosen.rounds, turns)
    print(f"{machine(chosen.rounds, chosen.batch)} {chosen.size} px, {chosen.steps} steps a turn.\n")
    print("| tried | images/s | against the course's way: median (range) | what |\n|---|---|---|---|")
    for variant, what in VARIANTS.items():
        ratios = sorted(found / ours for found, ours in zip(figures[variant], figures[OURS]))
        spread = f"{median(ratios):.2f} ({ratios[0]:.2f}–{ratios[-1]:.2f})"
        print(f"| {variant} | {median(figures[variant]):.1f} | {spread} | {what} |")


if __name__ == "__main__":
    main()
