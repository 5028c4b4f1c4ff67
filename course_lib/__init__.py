"""One student's three-stage experiment with a ResNet-like classifier of 80 classes, step by step (see README.md)."""

from importlib import import_module

_ROOMS = {
    "model": "res_block MyModel get_model",
    "datasets": "MyDataset MyDatasett",
    "augment": "plain_transform augmented_transform plain_batch augment_batch draw_augmentations",
    "bank": "open_bank",
    "batches": "training_batches augmentations",
    "resume": "Totals",
    "loops": "train_epoch train trained_model evaluate predict test",
    "results": "measure measured_once record read_results table",
    "plots": "plot_history plot_sweep plot_images plot_class_samples plot_class_histogram "
    "plot_predictions plot_top_five keep",
    "widgets": "browse_classes",
    "survey": "describe_data",
    "workspace": "open_course describe",
    "errors": "CourseError DataError CheckpointError SettingsError DeviceMemoryError",
}
_HOME = {name: room for room, names in _ROOMS.items() for name in names.split()}
__all__ = sorted(_HOME)


def __getattr__(name):
    # A name's room is imported on first use: `import course_lib` alone costs nothing, and pyplot only who plots.
    if name not in _HOME:
        raise AttributeError(f"course_lib has no {name!r}; it has {', '.join(__all__)}.")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
