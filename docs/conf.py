"""The documentation as a site: `make docs` builds it into build/site with Sphinx.

The source folder is the repository, so README, the pages of docs/ and the links between them are the same files and the
same links as in a checkout. What README cannot hold, the site's navigation, is NAVIGATION below.
"""

from __future__ import annotations

import shutil
from dataclasses import is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import mmdr
from docutils import nodes
from pygments.lexers.special import TextLexer
from sphinx.util.docutils import SphinxDirective

from bulkedit._version import __version__
from bulkedit.options.declaring import Declared, declared

if TYPE_CHECKING:
    from sphinx.application import Sphinx

ROOT: Final = Path(__file__).parents[1]
HOME: Final = "README"

# the four kinds of documentation of https://diataxis.fr, and what belongs to the project
NAVIGATION: Final = {
    "Tutorial": ["docs/tutorial", "samples/README"],
    "How-to": [
        "docs/how-to",
        "docs/edit-lists",
        "docs/inventory",
        "docs/de-identification",
        "docs/after-a-run",
        "docs/recovery",
        "docs/results",
        "docs/emulator",
        "docs/library",
    ],
    "Reference": [
        "docs/commands",
        "docs/api",
        "docs/exit-codes",
        "docs/json-output",
        "docs/logging",
        "docs/ledger",
        "docs/iam/README",
        "docs/glossary",
    ],
    "Explanation": [
        "docs/pacing",
        "docs/limits",
        "docs/security",
        "docs/architecture",
        "docs/decisions/README",
    ],
    "Project": ["CHANGELOG", "CONTRIBUTING", "SECURITY"],
}
DECISIONS: Final = "docs/decisions/README"

project = "bulkedit"
author = "the bulkedit project"
copyright = "2026, the bulkedit project"  # noqa: A001 - Sphinx's name
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = HOME
include_patterns = ["*.md", "docs/*.md", "docs/*/*.md", "samples/README.md"]
exclude_patterns = [".*", "benchmarks", "build", "bulkedit", "dist", "plans", "runs", "tests"]
nitpicky = True  # a name that a docstring refers to exists; those of other packages and of inner ones are only shown
nitpick_ignore_regex = [
    ("py:class", r"(pathlib\.)?Path|pl\.\w+|polars\.\S+|\S+\.Phase|\w+(Counts|Progress|Summary)"),
    ("py:class", r"EditFrame|Lane|SavedPlan|Snapshot|.*Record"),
]

myst_heading_anchors = 4  # headings have the anchors that GitHub gives them
myst_enable_extensions = ["html_image"]  # <img> with a width
myst_fence_as_directive = ["mermaid"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 90
smartquotes = False  # two hyphens are those of an option
default_role = "literal"  # `text` in docstrings is code

highlight_language = "text"  # of blocks that name no language
html_theme = "furo"
html_title = f"bulkedit {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False


def add_navigation(_: Sphinx, page: str, source: list[str]) -> None:
    """Append the navigation to the home page, and the records to the page of decisions."""
    if page == HOME:
        source[0] += "".join(_toctree(pages, caption) for caption, pages in NAVIGATION.items())
    elif page == DECISIONS:
        source[0] += _toctree(["/docs/decisions/0*"])


def _toctree(pages: list[str], caption: str | None = None) -> str:
    title = [f":caption: {caption}"] if caption else []
    return "\n".join(["", "", "```{toctree}", ":hidden:", ":glob:", *title, "", *pages, "```", ""])


def mend_dashes(_: Sphinx, page: nodes.document) -> None:
    """Put a dash between a parameter and its text: Sphinx leaves that to `smartquotes`."""
    for text in list(page.findall(lambda node: isinstance(node, nodes.Text) and node == " -- ")):
        text.parent.replace(text, nodes.Text(" – "))  # noqa: RUF001


def make_index(app: Sphinx, failure: Exception | None) -> None:
    """Make the home page the one that a browser opens first."""
    if failure is None and app.builder.name == "html":
        shutil.copyfile(app.outdir / f"{HOME}.html", app.outdir / "index.html")


class Mermaid(SphinxDirective):
    """A Mermaid diagram, drawn while building: the pages load no script for it."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        """Give the diagram as HTML, under an id of its own."""
        name = f"diagram-{self.env.new_serialno('mermaid')}"
        drawing = mmdr.render("\n".join(self.content)).svg().replace("merman", name)
        return [nodes.raw("", f'<div class="diagram">{drawing}</div>', format="html")]


def leave_out_signature(_: Sphinx, what: str, *__: object) -> tuple[str, None] | None:
    """A class is explained by its fields; its signature would repeat all that is declared of them."""
    return ("", None) if what == "class" else None


def add_options(_: Sphinx, what: str, __: str, thing: type, ___: object, lines: list[str]) -> None:
    """List the fields of options with the words of the command line."""
    if what == "class" and thing.__module__.startswith("bulkedit.options.") and is_dataclass(thing):
        lines += [
            "",
            *(f":param {one.name}: {one.declaration.help}" for one in declared(thing) if isinstance(one, Declared)),
        ]


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_directive("mermaid", Mermaid)
    app.add_lexer("csv", TextLexer)
    app.connect("autodoc-process-signature", leave_out_signature)
    app.connect("autodoc-process-docstring", add_options)
    app.connect("source-read", add_navigation)
    app.connect("doctree-read", mend_dashes)
    app.connect("build-finished", make_index)
