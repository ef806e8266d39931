"""Formulae of the catalogue become MathML."""

import xml.etree.ElementTree as ET

import pytest

from lossbench import impls
from lossbench.bench.mathml import mathml

HALF = "<mfrac><mn>1</mn><mn>2</mn></mfrac>"


def inner(formula):
    """Return the MathML of a formula within its outermost elements."""
    text = mathml(formula)
    return text[text.index("<mrow>") + 6 : text.rindex("</mrow>")]


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("½ d_ip²", f"{HALF}<msubsup><mi>d</mi><mrow><mi>i</mi><mi>p</mi></mrow>"
         "<mrow><mn>2</mn></mrow></msubsup>"),
        ("λ / (2B)", "<mfrac><mrow><mi>λ</mi></mrow><mrow><mn>2</mn><mi>B</mi></mrow></mfrac>"),
        ("Σ_i x", "<munder><mo>∑</mo><mrow><mi>i</mi></mrow></munder><mi>x</mi>"),
        ("√(a < b)", "<msqrt><mrow><mi>a</mi><mo>&lt;</mo><mi>b</mi></mrow></msqrt>"),
        ("1e-7", "<mrow><msup><mn>10</mn><mn>−7</mn></msup></mrow>"),
        ("x0_i", "<msub><mi>x</mi><mrow><mn>0</mn><mo>,</mo><mi>i</mi></mrow></msub>"),
    ],
)  # fmt: skip
def test_the_notation_of_the_catalogue_is_understood(formula, expected):
    assert inner(formula) == expected


def test_every_formula_is_well_formed_and_keeps_its_text():
    for loss in impls.losses():
        root = ET.fromstring(mathml(loss.formula))
        assert root.get("alttext") == loss.formula
        text = "".join(root.itertext())
        # A script takes the place of its sign.
        assert not {"_", "^", "{", "}", "√", "²"} & set(text), loss.name
        assert len(root) == 1


def test_a_bracket_that_is_not_closed_is_refused():
    with pytest.raises(ValueError, match="expected '\\)'"):
        mathml("(a + b")
