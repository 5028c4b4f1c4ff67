"""Whether a stage may continue from a checkpoint, and what you should know when it does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from .errors import CheckpointError
from .fingerprints import answers, decoder, made_on, same_answers
from .storage.identity import require_same, weights_digest

if TYPE_CHECKING:
    from .position import Position
    from .stage import Stage


def require_same_stage(
    state: dict[str, Any], identity: dict[str, Any], stage: Stage, where: str
) -> dict[str, Any]:
    """Raise CheckpointError if a checkpoint belongs to another run, images or network.

    state: what the checkpoint in the file `where` holds. identity: of the stage as it's now.
    Returns the identity on record, which names the model that the stage began with.
    """
    found = state["identity"]
    expected = dict(identity)
    report_details(found.get("details", {}), expected["details"], stage)
    expected["details"] = found.get("details")
    for key in ("held-out images", "held-out pixels"):
        if found.get(key) is None or expected[key] is None:
            # Measured on none so far, or not from now on: nothing is mixed.
            found[key] = expected[key] = found.get(key) or expected[key]
    begins_anew = stage.spec.starts_from is None
    was_called_again = expected["starts from"] == weights_digest(state["model"])
    if begins_anew or was_called_again:
        # The weights come from the checkpoint, so the model that was passed in may be any.
        expected["starts from"] = found["starts from"]
    if state["made_on"]["decoder"] != decoder():  # pixels may differ a little: that's reported
        expected["pixels"] = found["pixels"]
        expected["held-out pixels"] = found["held-out pixels"]
    advice = f"To train this stage from scratch, run course.stage({stage.number}).start_over()."
    require_same(found, expected, where, advice)
    return found


def report_details(before: dict[str, str], now: dict[str, str], stage: Stage) -> None:
    """Name what the network computes with that has changed since the stage began.

    It isn't refused: training itself may have changed it, such as a counter.
    """
    if before.get("python") != now["python"]:  # it compiles differently, which isn't an edit
        return
    changed = [what for what in {**before, **now} if before.get(what) != now.get(what)]
    if changed:
        print(
            f"Since stage {stage.number} began, this has changed in your network: "
            f"{', '.join(changed)}. If training changes it, that's fine. If you have, the "
            "results belong to neither network: undo your edit, or run "
            f"course.stage({stage.number}).start_over()."
        )


def require_same_answers(state: dict[str, Any], model: nn.Module, stage: Stage, where: str) -> None:
    """Raise CheckpointError if the network, with the same weights, computes something else.

    This detects an edited `forward`, attribute or function.
    """
    if not same_answers(state["answers"], answers(model, stage.course)):
        raise CheckpointError(
            f"{where} was made with another network: with the same weights, it answers "
            "differently. No file was changed. Undo your edit of the network, or run "
            f"course.stage({stage.number}).start_over()."
        )


def report_trained_model(model: nn.Module, stage: Stage) -> None:
    """Say so if a stage that's meant to begin with a new model begins with a trained one."""
    if stage.spec.starts_from is not None:
        return
    for name, value in model.state_dict().items():
        if name.endswith("num_batches_tracked") and value > 0:  # BatchNorm counts them
            print(
                f"Stage {stage.number} begins with a model that has been trained on {value:,} "
                "batches before. For a new one, use course.new_model(seed=…)."
            )
            if stage.course.data.sealed is not None:
                print("If it was trained on images that are sealed now, say so in your claim.")
            return


def report_finished(stage: Stage, position: Position) -> None:
    """Say that there is nothing left to train."""
    print(
        f"Stage {stage.number}: all {position.epoch} epochs are done; loaded from the checkpoint."
    )


def report_resumption(stage: Stage, position: Position, before: dict[str, Any]) -> None:
    """Say where the stage continues, and what isn't as it was.

    before: what the checkpoint was made on.
    """
    print(
        f"Resuming stage {stage.number} in epoch {position.epoch + 1}, after {position.seen:,} of "
        "the epoch's images."
    )
    changed = []
    for name, value in made_on(stage.course).items():
        if value != before.get(name):
            changed.append(f"{name} {value} instead of {before.get(name)}")
    if changed:
        print(f"Results are equally valid, but won't be bit-identical: {', '.join(changed)}.")
