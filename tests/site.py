"""What `make docs` has built: a site that opens from a folder, with no network.

`python -m tests.site FOLDER` names every fault: a page of the repository that is not built or not in the navigation, a
link that leads nowhere, and anything that a page would load from elsewhere. If there is a Chromium, it opens each page.
"""

from __future__ import annotations

import re
import sys
import tempfile
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag

import anyio

from tests.cli.browser import CHROMIUM, REQUIRED, browser

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
_LOADING = {"data", "poster", "src", "srcset", "xlink:href"}  # what a browser fetches without a click
_ELSEWHERE = re.compile(r"\s*(//|(?!data:)[a-z][a-z+.-]*:)", re.IGNORECASE)
_IN_STYLE = re.compile(r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')\s]+)""")


@dataclass
class Parsed(HTMLParser):
    """One page: its anchors, its links, and what it loads."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value or "")
            elif name == "href" and tag == "a":
                self.links.append(value or "")
            elif name in _LOADING or (name == "href" and tag != "a"):
                self.loads.append(value or "")


def sources(root: Path) -> Iterator[str]:
    """The pages of the repository, without the suffix."""
    found = [*root.glob("*.md"), *root.glob("docs/**/*.md"), root / "samples/README.md"]
    return (path.relative_to(root).with_suffix("").as_posix() for path in sorted(found))


def faults(site: Path, root: Path) -> Iterator[str]:
    """All that is wrong with a site, one text each."""
    pages = {path: parsed(path) for path in sorted(site.rglob("*.html"))}
    yield from missing(site, root, pages)
    for path, page in pages.items():
        name = path.relative_to(site)
        yield from (f"{name} loads {address}" for address in page.loads if _ELSEWHERE.match(address))
        inside = [link for link in (*page.links, *page.loads) if not re.match(rf"{_ELSEWHERE.pattern}|data:", link)]
        yield from (f"{name}: no {link}" for link in inside if not leads_somewhere(path, link, pages))
    for path in sorted(site.rglob("*.css")):
        yield from (
            f"{path.relative_to(site)} loads {address}" for address in _IN_STYLE.findall(path.read_text("utf-8"))
        )


def parsed(path: Path) -> Parsed:
    page = Parsed()
    text = path.read_text("utf-8")
    page.feed(text)
    page.loads += _IN_STYLE.findall(text)
    return page


def missing(site: Path, root: Path, pages: dict[Path, Parsed]) -> Iterator[str]:
    """Pages of the repository that are not built, or that the home page's navigation does not name."""
    home = pages.get(site / "index.html", Parsed())
    for name in sources(root):
        if site / f"{name}.html" not in pages:
            yield f"{name}.md is not in the site"
        elif name != "README" and f"{name}.html" not in home.links:
            yield f"{name}.md is not in the navigation"


def leads_somewhere(path: Path, link: str, pages: dict[Path, Parsed]) -> bool:
    """Whether a link inside the site has its file and its anchor."""
    address, anchor = urldefrag(link)
    there = (path.parent / unquote(address.partition("?")[0])).resolve() if address else path
    if there not in pages:
        return there.is_file()
    return not anchor or unquote(anchor) in pages[there].anchors


async def seen(site: Path) -> list[str]:
    """What a browser asks for, from elsewhere, and complains about."""
    found: list[str] = []
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        async with browser(Path(name) / "profile") as page:
            for path in sorted(site.rglob("*.html")):
                await page.open(path)
                asked = [address for address in page.requests if not address.startswith(("file:", "data:"))]
                found += [f"{path.relative_to(site)}: {fault}" for fault in (*asked, *page.complaints)]
    return found


def main(site: Path) -> int:
    found = list(faults(site, ROOT))
    if CHROMIUM is not None:
        found += anyio.run(seen, site)
    elif REQUIRED:
        found.append("there is no Chromium to open the pages in")
    print("\n".join(found) or f"{site}: {len(list(site.rglob('*.html')))} pages, all whole")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
