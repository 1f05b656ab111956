"""A value that the service quotes reaches no file and no output, in whatever form and answer it comes."""

from __future__ import annotations

import base64
import html
import http.client
import json
import re
import sqlite3
import threading
import urllib.parse
from collections import Counter
from contextlib import closing
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, ClassVar, Final

import polars as pl
import pytest

from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from bulkedit.emulator.api.updating import SERVICE_FAULT
from bulkedit.emulator.state.faults import Fault, FaultKind
from bulkedit.runs.full_messages import FILE
from tests.cli.shell import Shell
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


NEW: Final = "NEW^NAME"
VALUE: Final = 'Señora O\'Brien^"Zuñiga"^47110815'
STORED: Final = "OLDNAME^BEFORE"
DISGUISES: Final = {
    "as it is": VALUE,
    "in quotation marks": f'"{VALUE}"',
    "a part": "Zuñiga",
    "cut short": "Señor",
    "upper case": VALUE.upper(),
    "lower case": VALUE.lower(),
    "JSON escapes": json.dumps(VALUE)[1:-1],
    "JSON escapes twice": json.dumps(json.dumps(VALUE))[1:-1],
    "percent encoding": urllib.parse.quote(VALUE),
    "HTML escapes": html.escape(VALUE),
    "base64": base64.b64encode(VALUE.encode()).decode(),
    "hexadecimal": VALUE.encode().hex(),
    "UTF-8 read as Latin-1": VALUE.encode().decode("latin-1"),
    "joined to a keyword": f"PatientName={VALUE}",
    "the stored value": STORED,
    "a number": "47110815",
}
SOURCES: Final = (
    "update refused",
    "error code",
    "error code of a 500",
    "failed version",
    "read refused",
    "copy refused",
)
PLACES: Final = ("ledger", "report", "JSON", "failed.csv", "page")


def traces(disguise: str) -> set[str]:
    """The pieces of a disguised value by which it would be recognised, in any output; keywords are none."""
    pieces = set(re.findall(r"\w{5,}", DISGUISES[disguise])) - {"PatientName"}
    return pieces | {json.dumps(piece)[1:-1] for piece in pieces}


class _Quoting(BaseHTTPRequestHandler):
    """A proxy before the emulator that answers some requests itself, quoting a text, and passes the others on."""

    upstream: ClassVar[str]
    quoted: ClassVar[dict[str, tuple[str, str]]]  # image set -> source, text

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        image_set_id, _, action = self.path.partition("?")[0].partition("/imageSet/")[2].partition("/")
        source, text = self.quoted.get(image_set_id, ("", ""))
        match source, action:
            case "update refused", "updateImageSetMetadata":
                self._refuse(400, "ValidationException", f"The value of PatientName is {text}")
            case "error code", "updateImageSetMetadata":
                self._refuse(400, text, "no")
            case "error code of a 500", "updateImageSetMetadata":
                self._refuse(500, text, text)
            case "read refused", "getImageSet":
                self._refuse(400, "ValidationException", text)
            case "copy refused", "copyImageSet":
                self._refuse(400, "ValidationException", text)
            case _:
                self._pass_on(body, text if source == "failed version" else None)

    do_GET = do_POST  # noqa: N815 - the base class's name

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._answer(status, json.dumps({"__type": code, "message": message}).encode())

    def _pass_on(self, body: bytes, message: str | None) -> None:
        with closing(http.client.HTTPConnection(self.upstream)) as upstream:
            upstream.request(self.command, self.path, body, dict(self.headers.items()))
            answer = upstream.getresponse()
            content = answer.read()
        if message is not None:
            content = content.replace(SERVICE_FAULT.encode(), json.dumps(f"INVALID_REQUEST: {message}")[1:-1].encode())
        self._answer(answer.status, content, **{"x-amzn-ErrorType": answer.getheader("x-amzn-ErrorType", "")})

    def _answer(self, status: int, content: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Stay silent."""


@dataclass(frozen=True, slots=True)
class Quoted:
    """What a run over all sources and disguises has left behind."""

    shell: Shell
    outputs: dict[str, str]
    sources: dict[str, str]  # image set -> source

    @property
    def run(self) -> Path:
        return self.shell.folder / "run"

    def content(self, place: str) -> str:
        match place:
            case "ledger":
                with closing(sqlite3.connect(self.run / "ledger.sqlite")) as ledger:
                    return "\n".join(ledger.iterdump())
            case "failed.csv":
                return (self.shell.folder / "results" / "failed.csv").read_text()
            case "page":
                return (self.shell.folder / "page.html").read_text()
            case _:
                return self.outputs[place]


def quoting(shell: Shell, server: ThreadingHTTPServer, handler: type[_Quoting]) -> Quoted:
    """Apply an edit to an image set of each source and disguise, and report in every form."""
    shell.env = {**shell.env, "BULKEDIT_ENDPOINT_URL": f"http://127.0.0.1:{server.server_port}"}
    sources = {}
    for number, text in enumerate(DISGUISES.values()):
        for index, source in enumerate(SOURCES):
            stored = document(study=f"1.2.{number}.{index}", patient=f"P{number}-{index}")
            stored["Patient"]["DICOM"]["PatientName"] = STORED
            copied = source == "copy refused"
            image_set_id = shell.emulator.add(stored, primary=copied)
            handler.quoted[image_set_id] = source, text
            sources[image_set_id] = source
    rows = [
        f"{ident},StudyInstanceUID,2.25.{n},true" if source == "copy refused" else f"{ident},PatientName,{NEW},"
        for n, (ident, source) in enumerate(sources.items(), 1)
    ]
    edits = shell.write("edits.csv", "\n".join(["image_set_id,attribute,value,force", *rows]) + "\n")
    shell.run("plan", edits, "-o", "plan", "--via-copy")
    commands: dict[str, list[tuple[str, ...]]] = {
        "JSON": [
            (
                "apply",
                "plan",
                "--yes",
                "--run",
                "run",
                "--include-values",
                "--max-attempts",
                "1",
                "--retry-for",
                "1",
                "--json",
            ),
            ("report", "run", "--results", "results", "--html", "page.html", "--json"),
            ("status", "run", "--json"),
        ],
        "report": [("report", "run"), ("status", "run")],
    }
    outputs = {
        place: "\n".join(done.stdout + done.stderr for done in [shell.run(*words) for words in lines])
        for place, lines in commands.items()
    }
    return Quoted(shell, outputs, sources)


@pytest.fixture(scope="module")
def quoted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Quoted]:
    failing = (Fault(kind=FaultKind.FAIL, action="UpdateImageSetMetadata"),)
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01), faults=failing)) as emulator:

        class Handler(_Quoting):
            upstream = urllib.parse.urlsplit(str(emulator)).netloc
            quoted: ClassVar[dict[str, tuple[str, str]]] = {}

        with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
            threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
            yield quoting(Shell(tmp_path_factory.mktemp("quoted"), emulator), server, Handler)
            server.shutdown()


def test_every_source_and_disguise_was_met(quoted: Quoted) -> None:
    """Or else the other tests would find nothing because nothing was quoted."""
    lines = [json.loads(line) for line in (quoted.run / "plan" / FILE).read_text().splitlines()]
    with_message = [source for source in SOURCES if "code" not in source]  # these answers are lost
    found = Counter(quoted.sources[line["image_set_id"]] for line in lines)
    assert {source: found[source] for source in with_message} == dict.fromkeys(with_message, len(DISGUISES))
    told = "\n".join(line["message"] for line in lines)
    assert [name for name, text in DISGUISES.items() if text not in told] == []
    assert (quoted.run / "plan" / FILE).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("disguise", DISGUISES)
def test_no_piece_of_a_value_is_in(place: str, disguise: str, quoted: Quoted) -> None:
    content = quoted.content(place)
    assert len(content) > 100
    assert {piece for piece in traces(disguise) if piece in content} == set()


def test_what_is_known_to_hold_no_value_is_kept(quoted: Quoted) -> None:
    failed = pl.read_csv(quoted.shell.folder / "results" / "failed.csv", infer_schema=False)
    assert "The value of PatientName is …" in failed["message"].to_list()
    assert "ValidationException" in set(failed["reason"])
    assert "HTTP 400" in quoted.content("ledger")
