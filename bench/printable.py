"""Text from outside made fit to be kept and printed: one line, no control characters, bounded."""

LONGEST = 500


def printable(text: str, longest: int = LONGEST) -> str:
    """Return text as one line of characters that every terminal and every file takes.

    Control characters could move the cursor or colour the screen, and lone surrogates can be
    written to no file. Both are replaced: the former by a space, the latter by their escape.

    Args:
        text: any text.
        longest: the most characters that are kept.
    """
    # Cut before the work as well: the text may have a hundred million characters.
    escaped = str.encode(text[: 2 * longest], "utf-8", "backslashreplace").decode()
    line = " ".join("".join(c if c.isprintable() else " " for c in escaped).split())
    return line if len(line) <= longest else f"{line[: longest - 3]}..."
