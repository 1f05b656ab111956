"""The check of the built site finds each fault. `make docs` runs it on the real one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.site import faults

if TYPE_CHECKING:
    from pathlib import Path

HOME = '<nav><a href="docs/page.html">Page</a></nav><p id="top"><img src="data:image/png;base64,AA">'
PAGE = '<h1 id="one"><a href="../index.html#top">home</a> <a href="https://example.org/">elsewhere</a></h1>'


def made(folder: Path, *, home: str = HOME, page: str = PAGE, style: str = "") -> list[str]:
    """The faults of a site of two pages."""
    root, site = folder / "root", folder / "site"
    for place in (root / "docs", root / "samples", site / "docs", site / "samples"):
        place.mkdir(parents=True)
    (root / "docs/page.md").touch()
    (site / "index.html").write_text(home + '<a href="samples/README.html">Samples</a>')
    (site / "docs/page.html").write_text(page)
    (site / "samples/README.html").touch()
    (site / "site.css").write_text(style)
    return list(faults(site, root))


def test_a_site_that_is_whole_has_no_fault(tmp_path: Path) -> None:
    assert made(tmp_path) == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"home": '<p id="top">'}, "docs/page.md is not in the navigation"),
        ({"page": '<a href="gone.html">'}, "docs/page.html: no gone.html"),
        ({"page": '<a href="../index.html#gone">'}, "docs/page.html: no ../index.html#gone"),
        ({"page": '<a href="#gone">'}, "docs/page.html: no #gone"),
        ({"page": '<img src="gone.png">'}, "docs/page.html: no gone.png"),
        ({"page": '<script src="https://cdn.example/a.js">'}, "docs/page.html loads https://cdn.example/a.js"),
        ({"page": '<img src="//cdn.example/a.png">'}, "docs/page.html loads //cdn.example/a.png"),
        ({"page": '<link href="https://fonts.example/">'}, "docs/page.html loads https://fonts.example/"),
        ({"page": "<style>a{background:url(https://x.example/)}"}, "docs/page.html loads https://x.example/"),
        ({"style": "@import 'https://x.example/a.css';"}, "site.css loads https://x.example/a.css"),
    ],
)
def test_each_fault_is_found(tmp_path: Path, change: dict[str, str], fault: str) -> None:
    assert made(tmp_path, **change) == [fault]


def test_a_page_that_is_not_built_is_found(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / "root/docs/decisions").mkdir()
    (tmp_path / "root/docs/decisions/0001-new.md").touch()
    assert list(faults(tmp_path / "site", tmp_path / "root")) == ["docs/decisions/0001-new.md is not in the site"]
