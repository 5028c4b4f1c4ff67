"""Things to click on in a notebook (ipywidgets 7.7 or later, as Colab has it)."""

import io

import ipywidgets
import torch

from .plots import plot_images, short

PAGE = 12  # images at a time


def browse_classes(images):
    """Look through the images class by class: a menu of the classes, and a slider of pages of 12 images.

    images: Images, such as `bank.train`. Returns a widget; as the last line of a cell it is shown.
    """
    counts = images.labels.clamp(min=-1).add(1).bincount(minlength=len(images.classes) + 1)[1:].tolist()
    options = [(f"{i}: {name} ({counts[i]:,})", i) for i, name in enumerate(images.classes) if counts[i]]
    if not options:
        return ipywidgets.HTML("These images have no labels: there are no classes to look through.")
    menu = ipywidgets.Dropdown(options=options, description="class", layout={"width": "28em"})
    page = ipywidgets.IntSlider(min=1, max=1, description="page", continuous_update=False, layout={"width": "28em"})
    caption, picture = ipywidgets.HTML(), ipywidgets.Image(format="png", layout={"max_width": "100%"})

    def show(change=None):
        positions = (images.labels == menu.value).nonzero().flatten()
        first = (page.value - 1) * PAGE
        chosen = positions[first : first + PAGE]
        names = [short(images.names[i]) for i in chosen.tolist()]
        file = io.BytesIO()
        plot_images(images.batch(torch.as_tensor(chosen)), names).savefig(file, format="png", facecolor="white")
        picture.value = file.getvalue()
        caption.value = f"images {first + 1:,} to {first + len(chosen):,} of {len(positions):,} in class {menu.value}"

    def turn_to_class(change=None):
        page.value = 1
        page.max = -(-counts[menu.value] // PAGE)
        show()

    menu.observe(turn_to_class, "value")
    page.observe(show, "value")
    turn_to_class()
    return ipywidgets.VBox([menu, page, caption, picture])
