"""A headless Chromium to open files in, spoken to over its DevTools protocol."""

from __future__ import annotations

import base64
import itertools
import os
import re
import shutil
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
REQUIRED = bool(os.environ.get("BULKEDIT_REQUIRE_CLIENTS"))
_PATIENT_S = 60


@dataclass
class Page:
    """One tab, and all that it has asked for and complained about."""

    _socket: aiohttp.ClientWebSocketResponse
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    _numbers: Any = field(default_factory=itertools.count)
    _events: list[str] = field(default_factory=list)

    async def ask(self, method: str, **words: Any) -> dict[str, Any]:
        """Send a command and wait for its answer; what happens meanwhile is noted."""
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": words})
        while True:
            message = await self._next()
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])

    async def _next(self) -> dict[str, Any]:
        message: dict[str, Any] = await self._socket.receive_json(timeout=_PATIENT_S)
        method, words = message.get("method", ""), message.get("params", {})
        self._events.append(method)
        if method == "Network.requestWillBeSent":
            self.requests.append(words["request"]["url"])
        elif method in {"Runtime.exceptionThrown", "Log.entryAdded", "Runtime.consoleAPICalled"}:
            self.complaints.append(str(words))
        return message

    async def open(self, page: Path | str) -> None:
        """Open a file, or a URL."""
        for domain in ("Page", "Network", "Log", "Runtime"):
            await self.ask(f"{domain}.enable")
        for noted in (self.requests, self.complaints, self._events):
            noted.clear()
        await self.ask("Page.navigate", url=page if isinstance(page, str) else page.as_uri())
        while "Page.loadEventFired" not in self._events:
            await self._next()

    async def value(self, script: str) -> Any:
        found = await self.ask("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def look(self, *, scheme: str = "light", media: str = "screen", width: int = 1000) -> None:
        """The colours, the medium and the width to show the page in."""
        await self.ask(
            "Emulation.setEmulatedMedia", media=media, features=[{"name": "prefers-color-scheme", "value": scheme}]
        )
        await self.ask("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)

    async def press(self, key: str) -> None:
        text = {"Enter": "\r"}.get(key, "")
        words = {"key": key, "code": key, "windowsVirtualKeyCode": {"Enter": 13, "Tab": 9}[key]}
        await self.ask("Input.dispatchKeyEvent", type="keyDown", text=text, **words)
        await self.ask("Input.dispatchKeyEvent", type="keyUp", **words)

    async def picture(self) -> bytes:
        shot = await self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])


@asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Page]:
    """A Chromium with an empty profile in a folder; ended with the block."""
    assert CHROMIUM is not None
    words = [
        *(CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--no-first-run"),
        *("--disable-background-networking", "--disable-dev-shm-usage", f"--user-data-dir={folder}", "about:blank"),
    ]
    with (folder.parent / "chromium.log").open("wb") as log:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=log)  # noqa: ASYNC220 - does not wait
    try:
        port = folder / "DevToolsActivePort"
        with anyio.fail_after(_PATIENT_S):
            while not (port.exists() and re.match(r"\d+\n", port.read_text())):
                assert process.poll() is None, (folder.parent / "chromium.log").read_text()
                await anyio.sleep(0.05)
        async with aiohttp.ClientSession() as session:
            address = f"http://127.0.0.1:{port.read_text().split()[0]}/json"
            async with session.get(address) as answer:
                tabs = await answer.json()
            (tab,) = [tab for tab in tabs if tab["type"] == "page"]
            async with session.ws_connect(tab["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                yield Page(socket)
    finally:
        process.kill()
        process.wait()
