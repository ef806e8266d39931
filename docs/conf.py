"""How the documentation is built; `nox -s docs` does it without the internet."""

import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

project = "lossbench"
author = "the lossbench authors"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
]
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_format = "short"
nitpicky = False

html_theme = "furo"
html_title = "lossbench"
html_show_sphinx = False
# Search must work from the disk, where a page may not fetch the others for their first lines.
html_show_search_summary = False


def setup(app):
    """Write the pages that the code knows best before the pages are read."""
    app.connect("builder-inited", write_pages)


def write_pages(app):
    """Fill in the templates, from the catalogue, the frame's columns and the tables of results."""
    from jinja2 import Environment, FileSystemLoader

    from lossbench import impls
    from lossbench.bench.compat.table import known_table
    from lossbench.bench.frame import COLUMNS
    from lossbench.bench.mathml import mathml
    from lossbench.bench.show.compat import STANDING_MEANINGS, compat_counts, compat_notes
    from lossbench.bench.show.training import FITNESS_MEANINGS, counts_text, training_notes
    from lossbench.bench.training_loop.catalogue import LOOP_SITUATIONS
    from lossbench.bench.training_loop.matrix import shipped_matrices
    from lossbench.impls.estimate import SAME_MARGIN

    templates = Environment(loader=FileSystemLoader(app.srcdir), autoescape=False)
    for name in templates.list_templates(extensions=["j2"]):
        page = templates.get_template(name).render(
            impls=impls,
            # Browsers draw MathML without a script, so the pages show formulae offline.
            mathml=mathml,
            columns=COLUMNS,
            same=f"{SAME_MARGIN:.0%}",
            matrices=shipped_matrices(),
            situations=LOOP_SITUATIONS,
            fitnesses=FITNESS_MEANINGS,
            counts=counts_text,
            notes=training_notes,
            table=known_table(),
            standings=STANDING_MEANINGS,
            standing_counts=compat_counts,
            standing_notes=compat_notes,
        )
        target = Path(app.srcdir) / name.removesuffix(".j2")
        # Rewritten only where it changed, so that an unchanged page is not built anew.
        if not target.exists() or target.read_text() != page:
            target.write_text(page)
