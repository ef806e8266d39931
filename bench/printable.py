"""Make text from outside printable: one line of limited length without control characters."""

LONGEST = 500


def printable(text: str, longest: int = LONGEST) -> str:
    """Return text as one line of characters that every terminal prints and every file stores.

    Control characters could move the cursor or colour the screen, so each becomes a space. Lone
    surrogates cannot be written to a file, so each becomes its escape.

    Args:
        text: any text.
        longest: the maximum number of characters to return.
    """
    # The text may have a hundred million characters, so it is cut before the slow part too.
    escaped = str.encode(text[: 2 * longest], "utf-8", "backslashreplace").decode()
    line = " ".join("".join(c if c.isprintable() else " " for c in escaped).split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
