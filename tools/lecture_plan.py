"""What the lectures show: which sections of the notebooks, for how long, and what to ask."""

from __future__ import annotations

from typing import NamedTuple


class Planned(NamedTuple):
    """A section of a notebook in the lectures."""

    notebook: str  # the number of the notebook, as in its file's name
    heading: str  # of the section
    minutes: dict[
        int, int
    ]  # length of a lecture → minutes; a lecture that isn't here leaves it out
    note: str  # for the presenter, in Markdown


LENGTHS = (45, 90)  # of the lectures, in minutes

PLAN = [
    Planned(
        "00",
        "The experiment in five sentences",
        {45: 1, 90: 2},
        "Read the table aloud, then run the setup cell. It prints what this computer has: on a GPU "
        "or a CPU with bf16, nobody waits long. On a CPU with fp32, finish stages 2 and 3 before "
        "the lecture.",
    ),
    Planned(
        "00",
        "What makes a class?",
        {45: 1, 90: 2},
        "Ask: *could you tell these classes apart?* Motif and hue make the class. If the projector "
        "washes out the hues, go by the motif.",
    ),
    Planned(
        "00",
        "From a picture to a tensor",
        {45: 1, 90: 2},
        "Three transforms, the same for every picture. Point at the range: 0…255, 0…1, −1…1.",
    ),
    Planned(
        "00",
        "Augmentation, one transform at a time",
        {45: 1, 90: 3},
        "Ask: *do all of these preserve the class?* Move the sliders to crops of 8% and let the "
        "room guess the class.",
    ),
    Planned(
        "00",
        "Training images and held-out images",
        {45: 1, 90: 1},
        "Say it twice: the network never trains on held-out images. All that follows rests on it.",
    ),
    Planned(
        "01",
        "The residual block",
        {90: 6},
        "Ask: *what comes last, the addition or the ReLU?* (The ReLU.) Which convolution still "
        "shows the motif? (Both do: a 1×1 convolution mixes the channels of each pixel.)",
    ),
    Planned(
        "01",
        "The whole network",
        {90: 4},
        "Follow the shapes: the picture shrinks, the channels multiply. Don't read all of the "
        "source; point at the four groups.",
    ),
    Planned(
        "02",
        "A batch to work with",
        {90: 1},
        "Just the shape: images, channels, height, width.",
    ),
    Planned(
        "02",
        "Batch norm: two modes",
        {90: 4},
        "Ask: *same logits in both modes of batch norm?* (No.) In training mode, an image's logits "
        "depend on its neighbours in the batch.",
    ),
    Planned(
        "02",
        "The loss: cross entropy",
        {90: 4},
        "Ask: *what's the loss of a network that knows nothing?* Most say 80, or 1; it's "
        "ln 80, 4.4.",
    ),
    Planned(
        "02",
        "The step: gradient descent with momentum",
        {90: 3},
        "Steps that agree add up, at the price of overshooting.",
    ),
    Planned(
        "02",
        "The loop in plain PyTorch",
        {90: 2},
        "Read the seven lines of the inner loop aloud.",
    ),
    Planned(
        "02",
        "The course's loop",
        {90: 1},
        "Have them find the lines that they've just read. The rest is for survival: scroll past.",
    ),
    Planned(
        "03",
        "Five batches, over and over",
        {45: 7, 90: 6},
        "Ask *before* you run the cell: *after how many epochs will it have memorised 160 images?* "
        "Guesses go from 2 to 10,000; write them on the board. It's a few dozen. Then: *would it "
        "also memorise wrong labels?* (Yes.)",
    ),
    Planned(
        "03",
        "Which learning rate?",
        {90: 3},
        "Start the cell, then collect guesses for 0.1 and 0.001 while it computes.",
    ),
    Planned(
        "03",
        "Which batch size?",
        {90: 2},
        "Ask: *what's a fair comparison, equal epochs, steps or time?*",
    ),
    Planned(
        "03",
        "Would fewer layers do?",
        {90: 2},
        "Ask: *which depth memorises fastest?* Most say the deepest.",
    ),
    Planned(
        "03",
        "What five batches can't tell you",
        {45: 3, 90: 2},
        "Ask for examples before you show the list.",
    ),
    Planned(
        "04",
        "Predict two numbers",
        {45: 6, 90: 7},
        "Everyone writes two numbers down before you start training. While the curve grows, ask: "
        "*when would you stop?* The grey run never gets ahead of yours, so it doesn't give the "
        "answer away. After ■, run the cell again to go on; the cells below need a finished stage.",
    ),
    Planned(
        "04",
        "The accuracy while training isn't the accuracy afterwards",
        {45: 2, 90: 4},
        "Training mode and a network that still changes, against eval mode and a finished one.",
    ),
    Planned(
        "04",
        "Two reasons for the drop",
        {45: 4, 90: 5},
        "Ask for both reasons before you show them, then for the fourth number.",
    ),
    Planned(
        "04",
        "When would you have stopped?",
        {45: 3, 90: 3},
        "Come back to their guesses from the training. Ask: *which images may you choose the epoch "
        "by?* (Not the held-out ones.)",
    ),
    Planned(
        "04",
        "Recap",
        {90: 1},
        "A good place for questions.",
    ),
    Planned(
        "05",
        "Keep training, on pictures that are never the same",
        {45: 5, 90: 6},
        "Ask: *will the first augmented epoch start near 100% or near chance?* It continues from "
        "the network of stage 2, which isn't trained again. (If you stopped stage 2 with ■, run "
        "its cell again first: here, it would be finished without a curve.)",
    ),
    Planned(
        "05",
        'Three readings of "85%"',
        {45: 2, 90: 3},
        "Let the room list what 85% could have been measured on before you show ours.",
    ),
    Planned(
        "05",
        "Is augmentation the reason?",
        {45: 2, 90: 3},
        "Ask: *what else could explain the gain?* Wait until someone proposes that it trained "
        "longer. Then: *which one run would tell the two apart?*",
    ),
    Planned(
        "05",
        "Two controls",
        {45: 3, 90: 4},
        "The same number of epochs, without augmentation. These runs are stored: nothing is "
        "trained here.",
    ),
    Planned(
        "05",
        "Why does it work?",
        {45: 2, 90: 2},
        "One sentence is enough: little to memorise, so it pays to learn what all versions share.",
    ),
    Planned(
        "05",
        "Recap",
        {45: 1, 90: 2},
        "Homework: the exercises of the notebooks, and 06. To show the training again another day, "
        "run `course.start_over()`. If `drive` was ticked, end with `course.leave_drive()`.",
    ),
]
