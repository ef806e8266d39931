import pytest

from lossbench.bench.printable import printable


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("as it is, µ × 1", "as it is, µ × 1"),
        ("two\nlines\tand\ra return", "two lines and a return"),
        ("\x1b[31mred\x07", "[31mred"),
        ("right\u202eto left", "right to left"),
        ("no character \udcff", "no character \\udcff"),
        ("x" * 501, "x" * 497 + "..."),
        ("x" * 500, "x" * 500),
    ],
)
def test_text_is_made_one_line_that_everything_takes(text, line):
    assert printable(text) == line
    line.encode()
