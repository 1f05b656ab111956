"""The report page: one file that opens offline, shows a real run, and holds no value."""

from __future__ import annotations

import builtins
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from tests.cli.browser import CHROMIUM, REQUIRED, Page, browser
from tests.cli.shell import Shell

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CANARIES = ("CANARYNAME", "CANARYDESCRIPTION", "CANARYID", "canaryfolder", "canarylist")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve

    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as emulator:
        yield Shell(tmp_path_factory.mktemp("page"), emulator)


@pytest.fixture(scope="module")
def path(shell: Shell) -> Path:
    """The page of a run with applied, rejected and set aside rows."""
    image_sets = shell.image_sets(30)
    lines = [
        "edit_id,image_set_id,action,attribute,value",
        f"x,<script>alert(1)</script>,set,PatientName,{CANARIES[0]}",
    ]
    for i, image_set_id in enumerate(image_sets):
        lines += [
            f"{CANARIES[2]}{i},{image_set_id},set,PatientName,{CANARIES[0]}^{i}",
            f"{CANARIES[2]}{i},{image_set_id},set,StudyDescription,{CANARIES[1]} {i}",
        ]
    lines += [f"{CANARIES[2]},{image_sets[i]},remove,AccessionNumber,{CANARIES[1]}" for i in range(3)]
    edits = shell.write("canarylist.csv", "\n".join(lines) + "\n")
    shell.run(
        "apply", edits, "--yes", "--run", "canaryfolder", "--rate", "20/s", "--burst", "1", "--bad-rows", "bad.csv"
    )
    result = shell.run("report", "canaryfolder", "--html", "page.html", "--json")
    assert [line["type"] for line in result.json] == ["page", "summary"], result.stderr
    assert (result.json[1]["applied"], result.json[1]["rejected"]) == (60, 3)
    return shell.folder / "page.html"


class TestFile:
    def test_it_names_no_address_but_its_own_parts(self, path: Path) -> None:
        found: list[tuple[str, str]] = []

        class References(HTMLParser):
            def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
                found.extend((tag, value or "") for name, value in attrs if name in {"href", "src", "srcset", "action"})

        References().feed(path.read_text())
        assert found == [("link", "data:,"), ("a", "#reasons")]
        assert not re.search(r"https?://|url\(|@import", path.read_text())

    def test_it_holds_no_value_and_no_name_that_a_person_chose(self, path: Path) -> None:
        assert [canary for canary in CANARIES if canary in path.read_text()] == []
        assert path.read_text().count("<script") == 1

    def test_it_is_for_its_owner_only_and_never_written_over(self, shell: Shell, path: Path) -> None:
        assert path.stat().st_mode & 0o777 == 0o600
        assert shell.run("report", "canaryfolder", "--html", "page.html").exit_code == 2

    def test_without_jinja2_it_says_what_to_install(
        self, shell: Shell, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert path.exists()
        usual = builtins.__import__

        def without(name: str, *words: Any, **more: Any) -> Any:
            if name == "jinja2":
                raise ImportError(name)
            return usual(name, *words, **more)

        monkeypatch.setattr(builtins, "__import__", without)
        result = shell.run("report", "canaryfolder", "--html", "other.html")
        assert result.exit_code == 2
        assert "pip install 'bulkedit[report]'" in result.stderr

    def test_a_run_that_has_not_begun_has_a_page_too(self, shell: Shell) -> None:
        edits = shell.descriptions(shell.image_sets(1), "some.csv")
        shell.unbegun(edits, "unbegun")
        assert shell.run("report", "unbegun", "--html", "unbegun.html").exit_code == 0
        assert "0 of 1 edits applied" in (shell.folder / "unbegun.html").read_text()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    async with browser(tmp_path_factory.mktemp("chromium") / "profile") as tab:
        yield tab


@pytest.mark.skipif(CHROMIUM is None and not REQUIRED, reason="chromium is not installed (tests/clients/install.sh)")
@pytest.mark.asyncio(loop_scope="module")
class TestInBrowser:
    @pytest_asyncio.fixture(loop_scope="module")
    async def page(self, tab: Page, path: Path) -> Page:
        """The page anew, in a browser that the tests share: it takes seconds to start."""
        await tab.look()
        await tab.open(path)
        return tab

    async def test_it_opens_without_a_complaint_and_asks_for_nothing(self, page: Page, path: Path) -> None:
        assert await page.value("document.querySelector('h1').textContent") == "60 of 63 edits applied"
        assert await page.value("document.querySelectorAll('svg .bar').length") > 5
        await page.picture()
        assert (page.complaints, page.requests) == ([], [path.as_uri()])

    async def test_its_tables_are_sorted_by_keyboard(self, page: Page) -> None:
        rows = "[...document.querySelector('#attributes-table').tBodies[0].rows].map(row => row.cells[{}].textContent)"
        assert await page.value(rows.format(2)) == ["30", "30", "3"]
        for _ in range(100):
            await page.press("Tab")
            if await page.value("document.activeElement.textContent") == "Edits" and await page.value(
                "document.activeElement.closest('table').id === 'attributes-table'"
            ):
                break
        await page.press("Enter")
        state = "document.activeElement.closest('th').getAttribute('aria-sort')"
        assert await page.value(state) == "descending"
        await page.press("Enter")
        assert await page.value(state) == "ascending"
        assert await page.value(rows.format(2)) == ["3", "30", "30"]
        assert await page.value("getComputedStyle(document.activeElement).outlineStyle") == "solid"

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    async def test_every_text_can_be_read(self, page: Page, scheme: str) -> None:
        """WCAG 2.2, 1.4.3: contrast of at least 4.5 to 1; of graphics that carry meaning (1.4.11) 3 to 1."""
        await page.look(scheme=scheme)
        contrasts = await page.value(CONTRASTS)
        assert len(contrasts) > 50
        assert [found for found in contrasts if found["ratio"] < 4.5] == []
        bars = await page.value(CONTRASTS_OF_BARS)
        assert min(bars) >= 3

    @pytest.mark.parametrize("width", [320, 600, 760, 1200])
    async def test_nothing_is_wider_than_its_window_or_cut(self, page: Page, width: int) -> None:
        await page.look(width=width)
        assert await page.value("document.documentElement.scrollWidth") <= width
        await page.value("document.querySelectorAll('details').forEach((x) => { x.open = true; })")
        assert await page.value(CUT) == []

    async def test_times_are_of_the_clock_with_their_zone_and_charts_have_units(self, page: Page) -> None:
        times = await page.value(
            "[...document.querySelectorAll('time')].map((x) => [x.textContent, x.title, x.dateTime])"
        )
        assert len(times) > 10
        assert all(re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", title) for _, title, _ in times)
        assert all(title == exact for _, title, exact in times)
        assert re.fullmatch(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d \S.*", times[0][0])
        assert await page.value(
            "[...document.querySelectorAll('.plot')].every((x) => x.querySelectorAll('.unit').length == 2)"
        )
        units = await page.value("[...document.querySelectorAll('.plot .unit:not(.under)')].map((x) => x.textContent)")
        assert units == [
            "edits completed, in total; 100 % = 63",
            "edits not applied",
            "accepted calls per second",
            "calls",
        ]

    async def test_a_failure_has_its_colour_its_symbol_and_its_place_in_time(self, page: Page) -> None:
        assert await page.value("document.querySelector('.alert').textContent") == (
            "\N{MULTIPLICATION X} 3 edits were not applied: rejected, conflicted or failed. The reasons"
        )
        assert await page.value("document.querySelectorAll('.plot rect.rejected').length") > 0
        assert await page.value("document.querySelector('#reasons-table td').textContent") == (
            "\N{MULTIPLICATION X} rejected"
        )
        areas = "[...document.querySelectorAll('polygon')].map((x) => x.getAttribute('class'))"
        assert await page.value(areas) == ["applied", "rejected"]

    async def test_it_prints_on_white_whatever_the_screen_has(self, page: Page) -> None:
        await page.look(scheme="dark", media="print")
        assert await page.value("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert await page.value("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
        pdf = await page.ask("Page.printToPDF", printBackground=True)
        assert len(pdf["data"]) > 10_000

    async def test_what_is_shown_has_names_for_those_who_do_not_see_it(self, page: Page) -> None:
        unnamed = (
            "[...document.querySelectorAll('svg:not([aria-hidden])')].filter(x => !x.getAttribute('aria-label')).length"
        )
        assert await page.value(unnamed) == 0
        assert await page.value("document.documentElement.lang") == "en"
        levels = await page.value("[...document.querySelectorAll('h1,h2,h3')].map(x => x.tagName)")
        assert levels[0] == "H1"
        assert set(levels[1:]) == {"H2"}
        assert await page.value("[...document.querySelectorAll('thead th')].every(x => x.scope === 'col')")


LUMINANCE = """
const light = (colour) => {
  const [r, g, b] = colour.match(/[\\d.]+/g).map(Number).map((x) => x / 255)
    .map((x) => (x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const ground = light(getComputedStyle(document.body).backgroundColor);
const ratio = (colour) => (Math.max(light(colour), ground) + 0.05) / (Math.min(light(colour), ground) + 0.05);
"""
CONTRASTS = f"""(() => {{ {LUMINANCE}
const texts = [...document.querySelectorAll('main *')].filter((x) => !x.closest('svg, script') &&
  [...x.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim()));
return texts.map((x) => ({{ text: x.textContent.slice(0, 30), ratio: ratio(getComputedStyle(x).color) }})); }})()"""
# not visible, or has to be pushed sideways; names of columns are hidden on purpose where rows are cards
CUT = """[...document.querySelectorAll('main *')]
.filter((x) => !x.closest('svg, thead, details:not([open]) > :not(summary)'))
.filter((x) => {
  const box = x.getBoundingClientRect();
  return box.width && (box.right > innerWidth + 1 || x.scrollWidth > x.clientWidth + 1 && x.clientWidth > 0);
}).map((x) => `${x.tagName}.${x.className}: ${x.textContent.slice(0, 40)}`)"""
CONTRASTS_OF_BARS = f"""(() => {{ {LUMINANCE}
return [...document.querySelectorAll('.bar, .throttle, polygon, .band .applied, .band .rejected, i.applied')]
  .map((x) => ratio(x.tagName === 'I' ? getComputedStyle(x).backgroundColor : getComputedStyle(x).fill)); }})()"""


def test_a_rate_that_was_learned_is_drawn(shell: Shell) -> None:
    edits = shell.descriptions(shell.image_sets(40))
    assert shell.run("apply", edits, "--yes", "--run", "r", "--rate", "auto", "--max-rate", "50/s").exit_code == 0
    assert shell.run("report", "r", "--html", "learned.html").exit_code == 0
    text = (shell.folder / "learned.html").read_text()
    assert 'class="rate" fill="none" points="' in text
    assert "the quota that the run measured" in text
