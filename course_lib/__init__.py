"""One student's three-stage experiment with a ResNet-like classifier, step by step (README.md)."""

from .augment import (
    augment_batch,
    augmentations,
    augmented_transform,
    plain_batch,
    plain_transform,
    training_batches,
)
from .curves import plot_history, plot_runs
from .datasets import MyDataset, MyDatasett
from .diagrams import draw_block, draw_model
from .errors import (
    CheckpointError,
    CourseError,
    DataError,
    DiskError,
    DivergedError,
    SettingsError,
    Stopped,
)
from .experiment import open_course
from .explore import browse_augmentation, browse_classes, browse_predictions
from .galleries import (
    show_classes,
    show_plain_and_augmented,
    show_predictions,
    show_shapes,
    show_steps,
)
from .guesses import answer, answered_guesses, guess, plot_guesses
from .live import live_curve
from .loops import evaluate, few_heldout, predict, test, train, trained_model
from .mistakes import plot_classes, plot_confusion
from .model import ConstantWidth, MyModel, get_model, plain_block, res_block, two_conv_block
from .pictures import keep
from .plots import plot_images, plot_predictions
from .project import begin_project, describe_data
from .results import measure, read_results, record, stored, table
from .submission import submit
from .tables import markdown_table
from .theory import plot_convolutions, plot_momentum, plot_surprise
from .trials import trial
from .verdicts import judge
