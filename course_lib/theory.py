"""Pictures of the theory: what a convolution does, what an answer costs, what momentum does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from .pictures import BLUE, ORANGE, WIDTH, Picture, styled

if TYPE_CHECKING:
    from torch import Tensor

# The bowl on which steps are drawn: the loss (x² + STEEP · y²) / 2, steeper along y than along x.
STEEP = 20.0
START = (-10.0, 1.2)


@styled
def plot_convolutions(image: Tensor) -> Picture:
    """Show an image after a 1×1 and after a 3×3 convolution, with weights chosen by hand.

    image: float (3, S, S) in [-1, 1]. The 1×1 convolution subtracts the blue channel from the red
    one at each pixel. The 3×3 convolution subtracts each pixel's left neighbours from its right
    ones, in all channels (a Sobel filter).
    """
    one = torch.tensor([1.0, 0.0, -1.0]).reshape(1, 3, 1, 1)
    sobel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])
    three = sobel.expand(1, 3, 3, 3)
    channels = {
        "1×1: red minus blue\nat each pixel": F.conv2d(image[None], one)[0, 0],
        "3×3: right minus left\nneighbours": F.conv2d(image[None], three)[0, 0],
    }
    title = "One image, and a channel that each convolution makes of it"
    alt = f"{title}: a 1×1 convolution keeps the shapes and mixes colours; a 3×3 one finds edges."
    figure = Picture((WIDTH, 4.6), title, alt, true_colour=True)
    axes = figure.subplots(1, 3)
    axes[0].imshow(((image.permute(1, 2, 0) + 1) / 2).numpy())
    axes[0].set_title("the image:\nred, green and blue")
    for axis, (name, channel) in zip(axes[1:], channels.items()):
        largest = channel.abs().max().item()
        axis.imshow(channel.numpy(), "Greys_r", vmin=-largest, vmax=largest)
        axis.set_title(name)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
    return figure


@styled
def plot_surprise(classes: int) -> Picture:
    """Plot −ln p, the loss of one image whose right class gets the probability p.

    classes: K, for the loss of guessing, at p = 1/K.
    """
    p = torch.linspace(0.005, 1, 400)
    guess = torch.tensor(1 / classes)
    alt = "The loss −ln p: 0 at p = 1, and without limit as p approaches 0."
    figure = Picture((10, 4.5), "The loss of one image", alt)
    axis = figure.subplots()
    axis.plot(p.numpy(), -p.log().numpy(), marker="", label="−ln p")
    label = f"guessing: p = 1/{classes}, loss {-guess.log():.2f}"
    axis.plot(guess, -guess.log(), linestyle="", color=ORANGE, label=label)
    axis.set(
        xlabel="p, the probability given to the right class", ylabel="loss (nats)", ylim=(0, 5.6)
    )
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def path_of_steps(lr: float, momentum: float, steps: int) -> Tensor:
    """The path of gradient descent on the bowl, from START: float (steps + 1, 2), x and y."""
    place = torch.tensor(START, requires_grad=True)
    optimizer = torch.optim.SGD([place], lr=lr, momentum=momentum)
    places = [place.detach().clone()]
    for _ in range(steps):
        loss = (place[0] ** 2 + STEEP * place[1] ** 2) / 2
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        places.append(place.detach().clone())
    return torch.stack(places)


@styled
def plot_momentum(lr: float = 0.02, momentum: float = 0.9, steps: int = 40) -> Picture:
    """Draw the steps of gradient descent on a long, narrow bowl, with and without momentum."""
    title = f"{steps} steps of gradient descent in a long, narrow valley"
    alt = f"{title}: without momentum, they stop far from the minimum; with it, they reach it."
    figure = Picture((WIDTH, 4.5), title, alt)
    axis = figure.subplots()
    x, y = torch.meshgrid(torch.linspace(-11, 8, 200), torch.linspace(-2, 2, 100), indexing="xy")
    axis.contour(x, y, (x**2 + STEEP * y**2) / 2, levels=12, colors="#bbbbbb", linewidths=1)
    for label, mu, colour in (
        ("without momentum", 0.0, ORANGE),
        (f"momentum {momentum}", momentum, BLUE),
    ):
        path = path_of_steps(lr, mu, steps)
        axis.plot(path[:, 0], path[:, 1], color=colour, markersize=5, label=label)
    axis.plot(0, 0, "k*", markersize=16, label="the minimum")
    axis.set(xlabel="one weight", ylabel="another weight")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
