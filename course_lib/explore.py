"""Things to click on in a notebook: each explorer is one call (ipywidgets 7.7, as in Colab, or 8)."""

import io

import ipywidgets

from .plots import plot_images, short

PAGE = 12  # images at a time


def browse_classes(images):
    """Browse Images, such as `course.data.train`, class by class; returns a widget for the last line of a cell."""
    counts = [int((images.labels == category).sum()) for category in range(len(images.classes))]
    options = [(f"{i}: {name} ({counts[i]:,})", i) for i, name in enumerate(images.classes) if counts[i]]
    if not options:
        return ipywidgets.HTML("These images have no labels, so there are no classes to browse.")
    menu = ipywidgets.Dropdown(options=options, description="class", layout={"width": "28em"})
    page = ipywidgets.IntSlider(min=1, max=1, description="page", continuous_update=False, layout={"width": "28em"})
    caption, picture = ipywidgets.HTML(), ipywidgets.Image(format="png")

    def show(change=None):
        positions = (images.labels == menu.value).nonzero().flatten()
        first = (page.value - 1) * PAGE
        chosen = positions[first : first + PAGE]
        figure = plot_images(images.batch(chosen), [short(images.names[i]) for i in chosen.tolist()])
        file = io.BytesIO()
        figure.savefig(file, format="png", facecolor="white")
        # A width of its own: a box stretches its children, and two images would fill two screens.
        picture.layout.width = f"{figure.bbox.width * 0.75:.0f}px"
        picture.value = file.getvalue()
        caption.value = f"images {first + 1:,}–{first + len(chosen):,} of {len(positions):,} in class {menu.value}"

    def turn_to_class(change=None):
        page.value = 1
        page.max = -(-counts[menu.value] // PAGE)
        show()

    menu.observe(turn_to_class, "value")
    page.observe(show, "value")
    turn_to_class()
    return ipywidgets.VBox([menu, page, caption, picture])
