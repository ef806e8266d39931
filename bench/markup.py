"""Turn names and texts into HTML; the templates of pages use these functions as filters."""

import re
from typing import Any


def breakable(name: str) -> Any:
    """Return the name of a Loss or variant, with line breaks allowed between its parts."""
    from markupsafe import Markup, escape

    parts = re.sub(r"(?<=_)|(?=[+\[])", "\0", name).split("\0")
    return Markup("<wbr>").join(map(escape, parts))


def ticked(text: str) -> Any:
    """Return HTML in which the text between backticks is ``code``."""
    from markupsafe import Markup, escape

    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part
        for place, part in enumerate(parts)
    )
