"""Convert a formula of the catalogue, one line of text, to MathML, which browsers draw themselves.

The catalogue writes ``√(Σ_i ‖x_i - c_{y_i}‖²)``: ``_`` and ``^`` bind the next name or ``{group}``,
``/`` makes a fraction of its two neighbours, and words of English stay words.
"""

import re
from html import escape

_TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)|(?P<name>[^\W\d_²]+(?:'s)?)|(?P<other>\S)|(?P<space>\s+)"
)
_FUNCTIONS = {"log", "exp", "cos", "sin", "softmax", "max", "min", "mean", "CE"}
_UNDER = {"Σ", "mean", "max", "min"}
_PAIRS = {"(": ")", "[": "]", "{": "}", "‖": "‖"}
_POWERS = {"²": "<mn>2</mn>", "⁺": "<mo>+</mo>", "⁻": "<mo>−</mo>"}
_OPERATORS = {"-": "−"}
_GAP = '<mspace width="0.2em"/>'
_BETWEEN_WORDS = "\N{NO-BREAK SPACE}</mtext><mtext>\N{NO-BREAK SPACE}"
_HALF = "<mfrac><mn>1</mn><mn>2</mn></mfrac>"


def mathml(formula: str) -> str:
    """Return a formula as a ``math`` element.

    Args:
        formula: formula in the notation of the catalogue.

    Raises:
        ValueError: if a bracket is not closed.
    """
    parser = _Parser([match.group() for match in _TOKEN.finditer(formula)])
    body = "".join(parser.parts_until("")).replace(_BETWEEN_WORDS, "\N{NO-BREAK SPACE}")
    alternative = escape(formula, quote=True)
    return f'<math display="block" alttext="{alternative}"><mrow>{body}</mrow></math>'


class _Parser:
    """A parser of tokens by recursive descent; every method returns MathML."""

    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens
        self.place = 0

    @property
    def next(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        token = self.next
        self.place += 1
        return token

    def skip_spaces(self) -> None:
        while self.next.isspace():
            self.place += 1

    def parts_until(self, end: str) -> list[str]:
        """Return the parts up to a closing token, and take that token too."""
        parts = list[str]()
        self.skip_spaces()
        while self.next != end:
            if not self.next:
                raise ValueError(f"expected {end!r} before the end of the formula")
            if self.next == "/" and parts:
                self.take()
                self.skip_spaces()
                parts.append(f"<mfrac>{_bare(parts.pop())}{_bare(self.scripted())}</mfrac>")
            else:
                parts.append(self.scripted())
            self.skip_spaces()
        self.take()
        return parts

    def scripted(self) -> str:
        """Return the next atom with its sub- and superscripts, a function with gaps beside it."""
        token = self.next
        if token not in _FUNCTIONS:
            return self.with_scripts(token)
        before = "".join(self.tokens[max(self.place - 2, 0) : self.place])
        gap = _GAP * bool(before.strip() and before[-1].isspace() and before[0].isalnum())
        name = self.with_scripts(token)
        return f"<mrow>{gap}{name}{'' if self.next == '(' else _GAP}</mrow>"

    def with_scripts(self, token: str) -> str:
        """Return the next atom, a token, with its sub- and superscripts."""
        base, below, above = self.atom(), "", ""
        if token.isalpha() and self.next.isdecimal():
            # A digit at a name, as in x0, is an index.
            below = f"<mn>{self.take()}</mn>"
        while self.next and self.next in {"_", "^", *_POWERS}:
            sign = self.take()
            if sign == "_":
                below += ("<mo>,</mo>" if below else "") + self.script()
            else:
                above += _POWERS.get(sign) or self.script()
        scripts = [f"<mrow>{script}</mrow>" for script in (below, above) if script]
        if not scripts:
            return base
        side = "under" if token in _UNDER and below else "sub" * bool(below) + "sup" * bool(above)
        return f"<m{side}>{base}{''.join(scripts)}</m{side}>"

    def script(self) -> str:
        """Return what a ``_`` or ``^`` binds."""
        if self.next == "{":
            self.take()
            return "".join(self.parts_until("}"))
        token = self.take()
        # Two indices, as in d_ip; a word such as max stays one.
        several = token.isalpha() and token not in _FUNCTIONS
        return "".join(f"<mi>{letter}</mi>" for letter in token) if several else f"<mi>{token}</mi>"

    def atom(self) -> str:
        token = self.take()
        if token in _PAIRS:
            inner = "".join(self.parts_until(_PAIRS[token]))
            fences = (f'<mo stretchy="true">{sign}</mo>' for sign in (token, _PAIRS[token]))
            return f"<mrow>{next(fences)}{inner}{next(fences)}</mrow>"
        if token == "√":
            return f"<msqrt>{_bare(self.operand())}</msqrt>"
        if token == "½":
            return _HALF
        if token[0].isdigit():
            return _number(token)
        if token[0].isalpha():
            return self.name(token)
        return f"<mo>{escape(_OPERATORS.get(token, token))}</mo>"

    def operand(self) -> str:
        """Return what a root is taken of: an atom, or a function or a sum with its argument."""
        self.skip_spaces()
        applied = self.next in _FUNCTIONS or self.next == "Σ"
        first = self.scripted()
        if not applied:
            return first
        self.skip_spaces()
        return f"<mrow>{first}{self.scripted()}</mrow>"

    def name(self, token: str) -> str:
        if token == "Σ":
            return "<mo>∑</mo>"
        if token in _FUNCTIONS:
            return f"<mi>{token}</mi>"
        if len(token) == 1 or (len(token) == 2 and not token.islower()) or not token.isascii():
            return "".join(f"<mi>{letter}</mi>" for letter in token)
        return f"<mtext>\N{NO-BREAK SPACE}{escape(token)}\N{NO-BREAK SPACE}</mtext>"


def _number(token: str) -> str:
    """Return a number; a power of ten, as in 1e-7, is one."""
    mantissa, _, exponent = token.partition("e")
    if not exponent:
        return f"<mn>{token}</mn>"
    power = exponent.replace("-", "−")
    times = "" if mantissa == "1" else f"<mn>{mantissa}</mn><mo>·</mo>"
    return f"<mrow>{times}<msup><mn>10</mn><mn>{power}</mn></msup></mrow>"


def _bare(part: str) -> str:
    """Return a part without round brackets around the whole of it, which a line replaces."""
    found = re.fullmatch(
        r'<mrow><mo stretchy="true">\(</mo>(?P<inner>.*)<mo stretchy="true">\)</mo></mrow>', part
    )
    return f"<mrow>{found['inner']}</mrow>" if found else f"<mrow>{part}</mrow>"
