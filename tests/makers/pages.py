"""Parse a page of HTML, for the tests of pages."""

from html.parser import HTMLParser

VOID = {"meta", "img", "br", "wbr", "link"}


class Outline(HTMLParser):
    """A parser that collects the parts of a page, and raises if a closed tag was not open."""

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.tags, self.addresses = [], [], [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [found["id"]] if "id" in found else []
        self.addresses += [found[name] for name in ("src", "href") if name in found]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def outline(page):
    """Return the parts of the page in a file."""
    parser = Outline()
    parser.feed(page.read_text())
    return parser
