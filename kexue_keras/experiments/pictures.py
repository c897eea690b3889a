"""Pictures of generated samples and of codes in the plane.

No deep-learning framework is imported.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kexue_keras.files import replacing

INK = "#22303c"
"""Colour of texts and lines."""


def tile(images: np.ndarray, columns: int, gap: int = 1) -> np.ndarray:
    """Images side by side in one, row by row, zeros between and around them.

    Args:
        images: `(n, height, width)`.
        columns: images in a row; the last row may be shorter.
        gap: width of what is between.

    Returns:
        Matrix of the rows needed.

    Example:

    >>> tile(np.ones((3, 1, 1)), columns=2).astype(int).tolist()
    [[0, 0, 0, 0, 0], [0, 1, 0, 1, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 0, 0, 0]]
    """
    n, height, width = images.shape
    rows = -(-n // columns)
    whole = np.zeros((rows * (height + gap) + gap, columns * (width + gap) + gap), images.dtype)
    for i, image in enumerate(images):
        top, left = gap + i // columns * (height + gap), gap + i % columns * (width + gap)
        whole[top : top + height, left : left + width] = image
    return whole


def enlarged(images: np.ndarray, factor: int) -> np.ndarray:
    """Images with `factor` times as many rows and columns, straight lines between the values.

    Args:
        images: `(n, height, width)`.
        factor: an integer.

    Example:

    >>> enlarged(np.array([[[0.0, 1.0]]]), 2).tolist()
    [[[0.0, 0.25, 0.75, 1.0], [0.0, 0.25, 0.75, 1.0]]]
    """
    for axis in (1, 2):
        size = images.shape[axis]
        places = np.clip((np.arange(size * factor) + 0.5) / factor - 0.5, 0, size - 1)
        low = np.minimum(places.astype(int), max(size - 2, 0))
        high = np.minimum(low + 1, size - 1)
        share = (places - low).reshape((-1, 1) if axis == 1 else -1)
        images = (1 - share) * images.take(low, axis) + share * images.take(high, axis)
    return images


def plane(reach: float, rows: int) -> np.ndarray:
    """A square of points, line by line from above, `(rows * rows, 2)`.

    Example:

    >>> plane(1.0, 2).tolist()
    [[-1.0, 1.0], [1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]]
    """
    x, y = np.meshgrid(np.linspace(-reach, reach, rows), np.linspace(reach, -reach, rows))
    return np.stack([x.ravel(), y.ravel()], axis=1)


def draw_images(axes: Any, images: np.ndarray, columns: int) -> None:
    """Draws images side by side, dark on white, on axes of Matplotlib.

    Args:
        axes: of Matplotlib.
        images: `(n, height, width)` from 0 to 1.
        columns: images in a line.
    """
    images = enlarged(np.clip(images, 0, 1), 4)
    axes.imshow(tile(images, columns, 6), cmap="gray_r", vmin=0, vmax=1)
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def draw_samples(
    path: str | Path, rows: Mapping[str, np.ndarray], columns: int = 20, lines: int = 2
) -> None:
    """Draws samples of several methods, the first ones of each.

    Args:
        path: the picture to write.
        rows: name of a method to images `(n, height, width)` from 0 to 1.
        columns: images in a line.
        lines: of each method.
    """
    from matplotlib.figure import Figure

    width, height = columns * 0.36 + 1.0, len(rows) * (lines * 0.36 + 0.14)
    figure = Figure(figsize=(width, height))
    figure.subplots_adjust(left=0.95 / width, right=0.998, bottom=0.01, top=0.99, hspace=0.1)
    for ax, (name, images) in zip(
        np.atleast_1d(figure.subplots(len(rows))), rows.items(), strict=True
    ):
        draw_images(ax, images[: columns * lines], columns)
        ax.set_ylabel(name.replace("_", "\n"), rotation=0, ha="right", va="center", color=INK)
        ax.yaxis.label.set_size(9)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def draw_ellipses(
    axes: Any, mean: np.ndarray, deviation: np.ndarray, labels: Sequence[int], reach: np.ndarray
) -> None:
    """Draws the ellipses that samples are coded as, beside the unit circle.

    Args:
        axes: of Matplotlib.
        mean: their centres, `(n, 2)`.
        deviation: their half axes, `(n, 2)`.
        labels: classes, integers from 0 to 9, told by the colour and at their middle.
        reach: what is shown of both axes, a pair for each.
    """
    from matplotlib import colormaps
    from matplotlib.collections import EllipseCollection
    from matplotlib.patches import Circle
    from matplotlib.patheffects import withStroke

    labels = np.asarray(labels)
    colours = colormaps["tab10"](labels % 10)
    sizes = *(2 * deviation.T), np.zeros(len(mean))
    ellipses = EllipseCollection(*sizes, units="xy", offsets=mean, transOffset=axes.transData)
    ellipses.set(facecolor=colours * [1, 1, 1, 0.06], edgecolor=colours * [1, 1, 1, 0.4])
    ellipses.set_linewidth(0.7)
    axes.add_collection(ellipses)
    axes.scatter(*mean.T, s=4, c=colours, linewidths=0)
    axes.add_patch(Circle((0, 0), 1, fill=False, color=INK, linewidth=2, linestyle="--", zorder=3))
    for label in np.unique(labels):
        middle = np.median(mean[labels == label], axis=0)
        text = axes.annotate(str(label), middle, ha="center", va="center", weight="bold", color=INK)
        text.set(path_effects=[withStroke(linewidth=3, foreground="white")], clip_on=True)
    axes.set(xlim=reach[0], ylim=reach[1], aspect="equal")
    axes.tick_params(colors="#7a8894", labelsize=8)
    axes.spines[:].set_color("#c8d0d8")


def draw_codes(
    path: str | Path,
    panels: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray]],
    labels: Sequence[int],
    reach: float,
) -> None:
    """Draws the codes of several models in the plane, and what the plane around 0 decodes to.

    Args:
        path: the picture to write.
        panels: what is said of a model; means and deviations of its codes, `(n, 2)`; and images
            that the points of `plane` are decoded to.
        labels: classes of the codes, integers from 0 to 9.
        reach: of `plane`.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.6, 4.45 * len(panels)), layout="constrained")
    for (left, right), (title, mean, deviation, images) in zip(
        figure.subplots(len(panels), 2, squeeze=False), panels, strict=True
    ):
        draw_ellipses(left, mean, deviation, labels, _square_around(mean))
        left.set_title(f"codes {title}; dashed: the unit circle", fontsize=10, color=INK)
        draw_images(right, images, round(len(images) ** 0.5))
        right.set_title(f"decoded: {-reach} to {reach} both ways", fontsize=10, color=INK)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=100)


def _square_around(points: np.ndarray) -> np.ndarray:
    """Ends of both axes, `(2, 2)`: of a square that shows almost all points and the unit circle."""
    low = np.minimum(np.quantile(points, 0.01, axis=0), -1)
    high = np.maximum(np.quantile(points, 0.99, axis=0), 1)
    half = 0.5 * 1.2 * (high - low).max()
    middle = (low + high) / 2
    return np.stack([middle - half, middle + half], axis=1)


def draw_curves(path: str | Path, curves: Mapping[str, Sequence[float]], title: str) -> None:
    """Draws figures by epoch, an axis for each.

    Args:
        path: the picture to write.
        curves: name to a number for every epoch.
        title: of the picture.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.2 * len(curves), 2.6), layout="constrained")
    for ax, (name, values) in zip(
        np.atleast_1d(figure.subplots(1, len(curves))), curves.items(), strict=True
    ):
        ax.plot(range(1, len(values) + 1), values, color="#2a78b5", linewidth=1.5)
        ax.set(xlabel="epoch", title=name)
        ax.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)


def draw_estimates(
    path: str | Path, panels: Mapping[str, Mapping[str, Sequence[float]]], label: str
) -> None:
    """Draws exact figures and their estimates by epoch, an axis for each method, all alike.

    Args:
        path: the picture to write.
        panels: name of a method to `{"exact": ..., "estimated": ...}`, a number for every epoch.
        label: of the vertical axis.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.6 + 2.3 * len(panels), 2.7), layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    top = max(max(lines["exact"]) for lines in panels.values())
    bottom = min(min(lines["estimated"]) for lines in panels.values())
    for ax, (name, lines) in zip(axes, panels.items(), strict=True):
        epochs = range(1, len(lines["exact"]) + 1)
        ax.plot(epochs, lines["exact"], color=INK, linewidth=1.6, label="exact")
        ax.plot(epochs, lines["estimated"], color="#d1495b", linewidth=1.6, label="the critic's")
        ax.fill_between(epochs, lines["estimated"], lines["exact"], color="#d1495b", alpha=0.08)
        ax.set_title(name.replace("_", " "), fontsize=10, color=INK)
        ax.set(xlabel="epoch", ylim=(min(1.1 * bottom, 0), 1.15 * top))
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color("#c8d0d8")
        ax.tick_params(colors="#7a8894", labelsize=8)
    axes[0].set_ylabel(label)
    axes[0].legend(frameon=False, fontsize=8)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110)
