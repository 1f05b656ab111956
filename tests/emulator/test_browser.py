"""Chromium against the emulator: what a web page that is open on this machine can do, which is nothing."""

from __future__ import annotations

import json
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from bulkedit.emulator import DEFAULT_DATASTORE_ID, serve
from tests.cli.browser import CHROMIUM, REQUIRED, Page, browser
from tests.emulator.hospital import settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from bulkedit.emulator import Emulator

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None and not REQUIRED, reason="chromium is not installed (tests/clients/install.sh)"
    ),
    pytest.mark.asyncio(loop_scope="module"),
]

JOB = {
    "clientToken": "t",
    "dataAccessRoleArn": "arn:aws:iam::000000000000:role/importer",
    "inputS3Uri": "file:///etc/",
    "outputS3Uri": "s3://bucket/out/",
}

# How a page can send a request to another origin, each with what it gets to see of the answer.
ATTACKS = """(async ({ url, read, jobs, job, faults, fault }) => {
  const seen = {};
  const send = async (name, target, options) => {
    try {
      const answer = await fetch(target, options);
      seen[name] = `${answer.type} ${answer.status} ${await answer.text()}`;
    } catch (error) {
      seen[name] = error.name;
    }
  };
  const text = (body) => ({ method: "POST", mode: "no-cors", headers: { "Content-Type": "text/plain" }, body });
  await send("text", jobs, text(job));
  await send("form", jobs, { method: "POST", mode: "no-cors", body: new URLSearchParams({ job }) });
  await send("untyped", jobs, { method: "POST", mode: "no-cors", body: new Blob([job]) });
  await send("without referrer", jobs, { ...text(job), referrerPolicy: "no-referrer" });
  await send("json", jobs, { method: "POST", headers: { "Content-Type": "application/json" }, body: job });
  await send("control", faults, text(fault));
  await send("delete", faults, { method: "DELETE" });
  await send("read", read, {});
  await send("read blindly", read, { mode: "no-cors" });
  await new Promise((done) => {
    const script = document.createElement("script");
    script.onload = () => done(seen.script = "loaded");
    script.onerror = () => done(seen.script = "TypeError");
    script.src = read;
    document.head.append(script);
  });
  return seen;
})"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def tab(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Page]:
    async with browser(tmp_path_factory.mktemp("chromium") / "profile") as tab:
        yield tab


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with serve(settings()) as running:
        yield running


@contextmanager
def web_site() -> Iterator[str]:
    """An empty page of another host, on a port of its own. Chromium leads each name below localhost to loopback."""

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://evil.localhost:{server.server_port}/"
        server.shutdown()


async def attack(tab: Page, url: str) -> dict[str, str]:
    words = {
        "jobs": f"{url}/startDICOMImportJob/datastore/{DEFAULT_DATASTORE_ID}",
        "job": json.dumps(JOB),
        "faults": f"{url}/_emulator/faults",
        "fault": json.dumps({"kind": "error-before"}),
        "read": f"{url}/datastore",
    }
    seen: dict[str, str] = await tab.value(f"{ATTACKS}({json.dumps(words)})")
    return seen


def done(emulator: Emulator) -> tuple[int, int, set[int | None]]:
    """Import jobs, faults, and how requests were answered."""
    answers = {entry.status for entry in emulator.journal() if entry.kind == "request"}
    return emulator.do(lambda world: len(world.jobs)), len(emulator.server.faults.as_dicts()), answers


@pytest.mark.parametrize("page", ["web site", "file"])
async def test_a_page_from_another_origin_can_neither_change_nor_read(
    tab: Page, emulator: Emulator, tmp_path: Path, page: str
) -> None:
    (tmp_path / "page.html").touch()
    with web_site() as site:
        await tab.open(site if page == "web site" else tmp_path / "page.html")
        seen = await attack(tab, emulator)
    assert done(emulator) == (0, 0, {403})
    assert len(emulator.journal()) > 7  # they did arrive
    blind = {"text", "form", "untyped", "without referrer", "control", "read blindly"}
    assert seen == {name: "opaque 0 " if name in blind else "TypeError" for name in seen}


async def test_a_page_whose_name_leads_here_can_neither_change_nor_read(tab: Page, emulator: Emulator) -> None:
    """DNS rebinding: to the browser the emulator is the page's own server."""
    url = f"http://evil.localhost:{urlsplit(emulator).port}"
    await tab.open(url)
    seen = await attack(tab, url)
    assert done(emulator) == (0, 0, {421})
    assert {answer.split()[1] for name, answer in seen.items() if name != "script"} == {"421"}


async def test_a_person_may_look_at_an_answer(tab: Page, emulator: Emulator) -> None:
    await tab.open(f"{emulator}/_emulator")
    assert DEFAULT_DATASTORE_ID in await tab.value("document.body.textContent")
