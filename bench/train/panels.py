"""Draw the panels of the figures."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from lossbench.bench.train.course import allowed_gaps
from lossbench.bench.train.records import Lesson
from lossbench.impls.registry import REFERENCE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Paul Tol's "muted" scheme, safe for colour-blind readers, with grey for the tenth class.
CLASS_COLOURS = (
    "#332288", "#88ccee", "#44aa99", "#117733", "#999933",
    "#ddcc77", "#cc6677", "#882255", "#aa4499", "#777777",
)  # fmt: skip
VARIANT_COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
LINES = ("-", "--", "-.", ":")
# A browser cannot open an SVG of very many shapes, so more points than this become an image.
MOST_VECTOR_POINTS = 2000
FLOOR = 1e-9


def draw_features(ax: "Axes", lesson: Lesson, *, large: bool = False) -> None:
    """Scatter the features of the test images, with class means and the centres of the loss.

    Args:
        ax: axes to draw on.
        lesson: results of the loss to draw.
        large: whether each point is drawn as its digit; otherwise as a dot.
    """
    ax.set_xticks([])
    ax.set_yticks([])
    title = "features of the test images" if large else lesson.experiment.loss
    ax.set_title(title, fontsize=11 if large else 8)
    if lesson.reference is None:
        ax.text(0.5, 0.5, "not trained", ha="center", va="center", transform=ax.transAxes)
        return
    features = lesson.reference.features
    points, labels = np.array(features.points), np.array(features.labels)
    if not np.isfinite(points).all():
        ax.text(0.5, 0.5, "not finite", ha="center", va="center", transform=ax.transAxes)
        return
    rasterized = len(points) > MOST_VECTOR_POINTS
    for digit, colour in enumerate(CLASS_COLOURS):
        x, y = points[labels == digit].T
        marker, size = (f"${digit}$", 22) if large else ("o", 5)
        ax.scatter(
            x, y, size, colour, marker=marker, linewidths=0, alpha=0.7, rasterized=rasterized
        )
    _draw_weights(ax, features.weights, points)
    _fit(ax, points)
    _mark_centers(ax, np.array(features.centers).reshape(-1, 2), large=large)
    _mark_means(ax, features.means, large=large)
    accuracy = lesson.reference.accuracy
    caption = f"nearest mean {accuracy.nearest_mean:.0%}"
    if accuracy.logits is not None:
        caption = f"weights {accuracy.logits:.0%}, {caption}"
    ax.set_xlabel(caption, fontsize=9 if large else 7)


def _draw_weights(
    ax: "Axes", weights: tuple[tuple[float, ...], ...], points: NDArray[np.float64]
) -> None:
    """Draw the direction of each class weight, from the origin to beyond the points."""
    reach = 2 * float(np.abs(points).max())
    for digit, weight in enumerate(weights):
        length = math.hypot(*weight)
        if 0 < length < math.inf:
            x, y = (reach * part / length for part in weight)
            ax.plot([0, x], [0, y], color=CLASS_COLOURS[digit], linewidth=0.7, alpha=0.45, zorder=0)


def _fit(ax: "Axes", points: NDArray[np.float64]) -> None:
    """Fit the axes to all points, at the same scale along both axes."""
    low, high = points.min(0), points.max(0)
    middle, half = (low + high) / 2, max(float((high - low).max()) * 0.54, 1e-6)
    ax.set_xlim(middle[0] - half, middle[0] + half)
    ax.set_ylim(middle[1] - half, middle[1] + half)
    ax.set_aspect("equal", adjustable="box")


def _mark_means(ax: "Axes", means: tuple[tuple[float, ...], ...], *, large: bool) -> None:
    from matplotlib.patheffects import withStroke

    for digit, (x, y) in enumerate(means):
        ax.text(
            x, y, str(digit), ha="center", va="center", fontweight="bold",
            fontsize=15 if large else 9, color="black", clip_on=True,
            path_effects=[withStroke(linewidth=3 if large else 2, foreground="white")],
        )  # fmt: skip


def _mark_centers(ax: "Axes", centers: NDArray[np.float64], *, large: bool) -> None:
    """Mark the centres that the loss learned, and print the number of those outside the frame."""
    if not len(centers):
        return
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    x, y = centers.T
    seen = (left <= x) & (x <= right) & (bottom <= y) & (y <= top)
    ax.scatter(x[seen], y[seen], 60 if large else 22, "black", marker="x", linewidths=1.2, zorder=3)
    if not seen.all():
        ax.text(
            0.02, 0.02, f"{(~seen).sum()} learned centres outside", transform=ax.transAxes,
            fontsize=8 if large else 6,
        )  # fmt: skip


def draw_curve(ax: "Axes", lesson: Lesson) -> None:
    """Draw the objective over the steps: all steps of the reference, and the variants on top."""
    ax.set_title("objective", fontsize=11)
    ax.tick_params(which="both", labelsize=8)
    ax.set_xlabel("step", fontsize=9)
    if lesson.reference is None:
        return
    ax.plot(lesson.reference.losses, color="#bbbbbb", linewidth=3, label=REFERENCE)
    for place, trained in enumerate(lesson.variants):
        if trained.curve is not None:
            ax.plot(
                _shown(trained.curve.losses), label=trained.variant, linewidth=1, **style(place)
            )
    if min(lesson.reference.losses) > 0:
        ax.set_yscale("log")
    # matplotlib searches for the best place, and warns if that takes a second.
    ax.legend(fontsize=8, frameon=False, loc="upper right")
    ax.grid(alpha=0.25)


def draw_gaps(ax: "Axes", lesson: Lesson, *, large: bool = False) -> None:
    """Draw the gap of each variant to the reference in float64, over the gap of rounding.

    Args:
        ax: axes to draw on.
        lesson: results of the loss to draw.
        large: whether the panel is large enough to name its axes.
    """
    ax.set_title(
        "gap to the reference in float64" if large else lesson.experiment.loss,
        fontsize=11 if large else 8,
    )
    ax.tick_params(labelsize=8 if large else 6)
    if lesson.reference is None:
        return
    exact, rounding = (
        np.array(values) for values in (lesson.reference.exact_losses, lesson.reference.rounding)
    )
    scale, steps = np.abs(exact).max(), np.arange(len(exact))
    allowed = allowed_gaps(rounding)
    ax.fill_between(steps, FLOOR, allowed, color="#eeeeee", linewidth=0)
    ax.fill_between(
        steps, FLOOR, np.maximum(rounding, FLOOR), color="#cccccc", linewidth=0
    )  # fmt: skip
    for place, trained in enumerate(lesson.variants):
        if trained.curve is None:
            continue
        gaps = np.abs(np.array(trained.curve.losses) - exact) / scale
        ax.plot(
            steps, np.maximum(gaps, FLOOR), label=trained.variant, linewidth=0.8, **style(place)
        )
        if trained.curve.parted is not None:
            ax.axvline(trained.curve.parted, color=style(place)["color"], linewidth=0.8, alpha=0.6)
    ax.set_yscale("log")
    ax.set_ylim(FLOOR, 1.0)
    ax.set_xlim(0, len(exact))
    ax.grid(alpha=0.25)
    if large:
        ax.set_xlabel("step", fontsize=9)
    if any(trained.curve for trained in lesson.variants):
        ax.legend(fontsize=8 if large else 5, framealpha=0.85, edgecolor="none", loc="lower right")


def _shown(losses: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the losses, NaN where they are not finite, so that the line has a gap there."""
    values = np.array(losses)
    return np.where(np.isfinite(values), values, np.nan)


def style(place: int) -> dict[str, Any]:
    """Return the line style of the variant at a place; colours and dashes cycle separately."""
    return {
        "color": VARIANT_COLOURS[place % len(VARIANT_COLOURS)],
        "linestyle": LINES[place % len(LINES)],
    }
