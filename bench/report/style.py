"""The style of plots: readable in light and dark themes, and without seeing colours."""

import re
from typing import TYPE_CHECKING, Any

from lossbench.bench.run.order import variant_order
from lossbench.impls.compiled import eager_of, is_compiled
from lossbench.impls.registry import REFERENCE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The palette of Okabe and Ito (2008), without yellow, which is hard to see on white, and without
# black, which the reference has.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#56b4e9")
# Colours repeat after six variants and markers after eleven, so no two variants share both.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">", "h")
# In an SVG this colour is replaced by the colour of the text around the plot, dark or light.
INK = "#20262e"
PALE_INK = "#e6e9ed"
SETTINGS: "dict[Any, Any]" = {
    "svg.fonttype": "none",
    "svg.hashsalt": "lossbench",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titley": 1.02,  # computed at every drawing otherwise, which takes a tenth of its time
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4.5,
}
_THEME = (
    f"<style>svg{{color:{INK}}}"
    f"@media (prefers-color-scheme:dark){{svg{{color:{PALE_INK}}}}}</style>"
)


def look(variant: str, known: "list[str]") -> dict[str, Any]:
    """Return the colour, marker and line of a variant, the same in every plot.

    Args:
        variant: name of the variant; a compiled one has the colour of its eager one, a broken line
            and hollow markers.
        known: names of the variants in the report; those that are not in the registry come last.
    """
    compiled = {"": "-", "compile": "--"}.get(variant.partition("+")[2], ":")
    hollow = {"markerfacecolor": "none"} if is_compiled(variant) else {}
    if eager_of(variant) == REFERENCE:
        return {"color": INK, "marker": "x", "linestyle": compiled, **hollow}
    bases = dict.fromkeys(map(eager_of, [*variant_order(), *known]))
    place = [base for base in bases if base != REFERENCE].index(eager_of(variant))
    return {
        "color": COLOURS[place % len(COLOURS)],
        "marker": MARKERS[place % len(MARKERS)],
        "linestyle": compiled,
        **hollow,
    }


def svg(figure: "Figure") -> str:
    """Return a figure as SVG, transparent, with ink that follows the light or dark theme."""
    from io import StringIO

    text = StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(text, format="svg", transparent=True, metadata=nothing)
    drawn = text.getvalue().replace(INK, "currentColor")
    drawn = drawn[drawn.index("<svg") :]
    drawn = re.sub(r"\s*<metadata>.*?</metadata>|<!--.*?-->\s*", "", drawn, flags=re.DOTALL)
    return drawn.replace(">", f">{_THEME}", 1)


def png(figure: "Figure") -> bytes:
    """Return a figure as PNG with a white background."""
    from io import BytesIO

    image = BytesIO()
    figure.savefig(image, format="png", dpi=130, facecolor="white")
    return image.getvalue()
