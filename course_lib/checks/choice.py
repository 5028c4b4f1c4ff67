"""Two exercises whose answer is a number or a letter."""

from __future__ import annotations

import re
import unicodedata

from .verdict import Wrong, as_number, check, without_brackets

LAYERS = 41  # of MyModel, on the main path
OTHER_COUNTS: dict[float, str] = {
    13: "13 counts blocks; each has three convolutions.",
    39: "39 counts the blocks only: conv1 comes before them, and fc after them.",
    40: "40 forgets one of the ends: conv1 before the blocks, or fc (a linear layer has weights, "
    "too).",
    44: "44 is the number of all convolutions: leave out those on short-cuts, and add fc.",
    45: "45 counts the short-cuts: their four convolutions lie beside the main path, not on it.",
    53: "53 counts a convolution on every short-cut; only four have one, and none is on the main "
    "path.",
    54: "54 counts a convolution on every short-cut; only four have one, and none is on the main "
    "path.",
    81: "81 counts batch norms, too: count convolutions and linear layers only.",
}
OVER_FIFTY = "That's what the report says (“over 50”): count the layers in its code instead."

RIGHT_LETTER = "c"
OTHER_LETTERS = {
    "a": "(a) shows that augmented images are hard, but trains nothing, so it can't tell you what "
    "training does.",
    "b": "(b) adds epochs and augmentation together again, so you still can't tell which of them "
    "helped.",
    "d": "(d) changes both, too: compared with stage 2, there are more epochs as well as "
    "augmentation.",
    "e": "(e) tells you how much of the gain is luck, but in every repetition both causes change "
    "together.",
}

# Words before the letter, as in "the letter c", "I choose c" and "it's c".
LABELS = "the|my|answer|choice|experiment|letter|option|run|is|i|choose|take|pick|think|it|s"
CHOICE = re.compile(
    rf"((?:{LABELS})[\W_]+)*"
    r"[\W_]*(?P<letter>[a-z])[\W_]*"
    # A reason follows "because", or a mark such as a colon.
    r"(((?<=\W)(because|since)\b|(?<=[:,;.()–—-])|(?<=[:,;.()–—-]\s)).*)?",
    re.DOTALL,
)
# Such as "c: no, d" and "c, d"; but "c, a control" gives a reason.
SECOND_THOUGHT = re.compile(
    r"\b(no|not|or|and|rather|sorry|actually)\W+[a-e]\b|^\W*\w\W+([b-e]\b|a\W*$)"
)
COUNT = re.compile(r"[=\s]*(?P<count>\d+)\s*(layers?)?\W*")


@check
def layers(my_count: object) -> str:
    """Check the number of layers with weights on the longest path from the image to the logits."""
    if isinstance(my_count, str):
        match = COUNT.fullmatch(my_count)
        my_count = match["count"] if match else my_count
    count = as_number(my_count)
    if count is None:
        raise Wrong("Give a number.")
    if count == LAYERS:
        return "41: conv1, three convolutions in each of 13 blocks, and fc."
    if count in OTHER_COUNTS:
        raise Wrong(OTHER_COUNTS[count])
    if 50 <= count <= 60:
        raise Wrong(OVER_FIFTY)
    raise Wrong(
        f"It isn't {count:g}: follow an image from conv1 to fc, "
        "and count the layers with weights on the way."
    )


@check
def separating_experiment(my_choice: object) -> str:
    """Check the letter of the experiment that separates augmentation from longer training."""
    letter = chosen_letter(without_brackets(my_choice))
    if letter == RIGHT_LETTER:
        return (
            "(c): same start and same number of epochs, "
            "so augmentation is all that differs from stage 3."
        )
    raise Wrong(OTHER_LETTERS.get(letter, "Choose one of the letters a to e."))


def chosen_letter(choice: object) -> str:
    """The letter in "c", "(C)", "Option c" or "c, because …"; "" if there isn't just one.

    A full-width ｃ, as Asian keyboards type it, is a c.
    """
    text = unicodedata.normalize("NFKC", str(choice)).lower()
    match = CHOICE.fullmatch(text)
    if match is None or SECOND_THOUGHT.search(text):
        return ""
    return match["letter"]
