"""A service that answers as it is told."""

from __future__ import annotations

import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ENDLESS: Final = b"x" * 2**20


@dataclass(frozen=True, slots=True)
class Answer:
    """What the service answers."""

    body: bytes
    status: int = 200
    endless: bool = False  # the body again and again, until the client hangs up
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def answering(answers: Mapping[str, Answer]) -> Iterator[str]:
    """The address of a server on this machine. ``answers``: by the last part of the path that is asked for."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            answer = answers[self.path.partition("?")[0].rpartition("/")[2]]
            self.send_response(answer.status)
            for name, text in answer.headers.items():
                self.send_header(name, text)
            with suppress(OSError):
                if answer.endless:
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    while True:
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(answer.body), answer.body))
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)

        do_POST = do_GET  # noqa: N815 - the name that the library calls

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
