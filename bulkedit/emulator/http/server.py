"""The HTTP server: reads a request, performs it on the world, and writes the response and the journal.

It runs on one event loop, and performs a request without an await, so the world handles one request at a time.
"""

from __future__ import annotations

import asyncio
import logging
import random
import re
import sqlite3
import uuid
from dataclasses import replace
from email.utils import formatdate
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from bulkedit._log import log, trace
from bulkedit.emulator.api.actions import admit, perform
from bulkedit.emulator.api.failures import Conflict, Denied, ServiceError, Throttled
from bulkedit.emulator.api.importing import UNFINISHED
from bulkedit.emulator.api.model import operations
from bulkedit.emulator.api.request import Request
from bulkedit.emulator.clock import EmulatorClock, SystemClock
from bulkedit.emulator.http import control, signing, wire
from bulkedit.emulator.http import import_jobs as jobs
from bulkedit.emulator.http.gate import Gate
from bulkedit.emulator.settings import Settings
from bulkedit.emulator.state.faults import FaultKind, Faults
from bulkedit.emulator.state.journal import Journal
from bulkedit.emulator.state.records import FaultEffect
from bulkedit.emulator.state.saved import StateFile
from bulkedit.emulator.state.world import World

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aiohttp.web_request import BaseRequest

    from bulkedit._json import JsonObject
    from bulkedit.emulator.api.model import ApiOperation
    from bulkedit.emulator.http.wire import Reply
    from bulkedit.emulator.state.faults import Fault
    from bulkedit.emulator.state.journal import Note
    from bulkedit.emulator.state.records import Job

LARGEST_BODY: Final = 2 * 1024 * 1024  # the largest valid body has 260,000 escaped characters of copiableAttributes
LARGEST_CONTROL_BODY: Final = 64 * 1024 * 1024  # a metadata document may have 50 MB (endpoints-quotas)

_REQUEST_ID: Final = "x-amzn-RequestId"
_PRODUCT: Final = re.compile(r"[A-Za-z][\w.-]{0,30}/[\w.-]{1,30}(?= |$)", re.ASCII)

_log = logging.getLogger("bulkedit.emulator")


class TooLarge(ServiceError):  # noqa: N818
    """The request body is larger than any operation allows."""

    code, status = "RequestEntityTooLargeException", 413


class Dropped(Exception):  # noqa: N818 - a fault that the user has set, not an error
    """The server must drop the connection."""


class Server:
    """One emulator: a world with an HTTP interface."""

    def __init__(
        self, settings: Settings | None = None, *, clock: EmulatorClock | None = None, host: str = "127.0.0.1"
    ) -> None:
        """``host``: the listening address. Raises StateError if the state file cannot be used."""
        self.settings = settings or Settings()
        self.clock = clock or SystemClock()
        self._gate = Gate(self.settings.allowed_hosts, bound=host)
        self.journal = Journal(self.settings.journal_limit)
        self.faults = Faults(self.settings.seed, self.settings.faults, now=self.now())
        self.state = StateFile(self.settings.state) if self.settings.state else None
        self.world = World(self.settings, random.Random(self.settings.seed))  # noqa: S311 - reproducible, not secret
        self._tasks: set[asyncio.Task[None]] = set()
        if self.state:
            self.state.load(self.world)
        self.world.add_default_datastore(self.now())
        self.catch_up()
        operations()  # loads the model now, so that the first request is not slow

    def now(self) -> float:
        """Epoch seconds, rounded to milliseconds as in the service's responses."""
        return round(self.clock.now(), 3)

    def catch_up(self) -> None:
        """Complete the actions that are due; write the changes to the journal and the state file."""
        self.world.advance(self.now())
        self._save()

    def resume_jobs(self) -> None:
        """Resume the import jobs that a kill has interrupted."""
        for job in self.world.jobs.values():
            if job.status in UNFINISHED:
                self._start(job)

    async def close(self) -> None:
        """Stop import jobs and late requests, and close the state file."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.state:
            self.state.close()

    async def handle(self, http: BaseRequest) -> web.StreamResponse:
        """Handle one HTTP request."""
        path, _, query = http.raw_path.partition("?")
        controls = path == control.PREFIX or path.startswith(control.PREFIX + "/")
        try:
            self._gate.check(http.headers, _own_address(http))
            if controls:
                control.check_access(http.remote, http.headers.get("Authorization"), self.settings.credentials)
            body = await _body(http, LARGEST_CONTROL_BODY if controls else LARGEST_BODY)
        except ServiceError as error:
            if not controls:
                self.journal.add(at=self.now(), kind="request", status=error.status, code=error.code)
            return _response(wire.refusal(error))
        if controls:
            return _response(control.answer(self, http.method, (path, query), body))
        return await self._serve(http, signing.Signed(http.method, path, query, http.headers, body))

    async def _serve(self, http: BaseRequest, signed: signing.Signed) -> web.StreamResponse:
        reply, struck = self.answer(signed)
        await self._delay(struck)
        for fault in struck:
            if fault.kind is FaultKind.LATE:
                self._begin_task(self._answer_late(signed, fault.seconds))
        if reply is None:
            if http.transport is not None:
                http.transport.abort()
            return web.Response()  # never sent
        return _response(reply, self._date(struck))

    def answer(self, signed: signing.Signed, *, late: bool = False) -> tuple[Reply | None, list[Fault]]:
        """Perform one request and write the journal. Returns the response, and the faults that struck.

        None instead of a response: drop the connection. The caller must wait for `FaultKind.SLOW` and
        `FaultKind.LATE`. ``late``: the request was delayed by `FaultKind.LATE`; no other fault strikes it.
        """
        note: Note = {"at": self.now(), "kind": "request", "bytes": len(signed.body), "request_id": str(uuid.uuid4())}
        if (access_key := signing.access_key_of(signed)) and access_key.isalnum() and len(access_key) <= 128:
            note["access_key"] = access_key
        if agent := _PRODUCT.match(signed.headers.get("User-Agent") or ""):
            note["agent"] = agent[0]
        struck: list[Fault] = []
        try:
            reply = self._answer(signed, note, struck, late=late)
            note["status"] = reply.status
        except Dropped:
            reply = None
        try:
            self._save()
        except sqlite3.Error:
            # a change that is not saved must not be reported as successful
            note["status"], note["code"] = ServiceError.status, ServiceError.code
            reply = wire.refusal(ServiceError("The state file of the emulator cannot be written."))
        if struck or late:
            note["fault"] = FaultKind.LATE if late else ",".join(fault.kind for fault in struck)
        self.journal.add(**note)
        log(
            "emulator.answered" if reply else "emulator.dropped",
            operation=note.get("action"),
            image_set_id=note.get("image_set_id"),
            status=note.get("status"),
            code=note.get("code"),
        )
        if reply is not None:
            reply = replace(reply, headers=reply.headers | {_REQUEST_ID: note["request_id"]})
        # a request that was refused for its credentials is not repeated late
        return reply, struck if reply is None else [one for one in struck if one.kind is not FaultKind.LATE]

    async def _answer_late(self, signed: signing.Signed, seconds: float) -> None:
        await self.clock.sleep(seconds)
        self.catch_up()
        self.answer(signed, late=True)

    async def _delay(self, struck: list[Fault]) -> None:
        for fault in struck:
            if fault.kind is FaultKind.SLOW:
                await self.clock.sleep(fault.seconds)

    def _date(self, struck: list[Fault]) -> str | None:
        skew = next((fault.seconds for fault in struck if fault.kind is FaultKind.CLOCK_SKEW), None)
        return None if skew is None else formatdate(self.now() + skew, usegmt=True)

    def _answer(self, signed: signing.Signed, note: Note, struck: list[Fault], *, late: bool = False) -> Reply:
        try:
            operation, params = wire.route(signed.method, signed.path)
            _describe(note, operation, params)
            if not late:
                key = signing.access_key_of(signed)
                struck += self.faults.strike(operation.name, note.get("image_set_id"), note["at"], key)
            self._check_access(signed, note["at"], struck)
            return self._perform(operation, params, signed, note, struck)
        except ServiceError as error:
            note["code"] = error.code
            return wire.refusal(error)
        except Dropped:
            raise
        except Exception as error:  # noqa: BLE001 - a defect of the emulator must not stop it
            # without the error's text, which could contain health data
            _log.error("%s while performing %s", type(error).__name__, note.get("action"))
            log("defect", logging.ERROR, error=type(error).__name__, traceback=trace(error))
            note["code"] = ServiceError.code
            return wire.refusal(ServiceError("Internal error of the emulator."))

    def _check_access(self, signed: signing.Signed, now: float, struck: list[Fault]) -> None:
        kinds = {fault.kind: fault for fault in struck}
        if FaultKind.CLOCK_SKEW in kinds:
            signing.check_time(signed.headers, now + kinds[FaultKind.CLOCK_SKEW].seconds)
        elif self.settings.credentials:
            signing.verify(signed, self.settings.credentials, now)
        if FaultKind.EXPIRED in kinds:
            raise signing.ExpiredToken
        if FaultKind.DENIED in kinds:
            raise Denied("You do not have sufficient access to perform this action.")

    def _perform(
        self,
        operation: ApiOperation,
        params: dict[str, str],
        signed: signing.Signed,
        note: Note,
        struck: list[Fault],
    ) -> Reply:
        kinds = {fault.kind for fault in struck}
        self._step_quota(note["at"])
        _fail_before(kinds)
        admit(self.world, operation.name, note["at"])
        effect = FaultEffect(
            fails=FaultKind.FAIL in kinds, hangs=FaultKind.HANG in kinds, lags=FaultKind.LAGGING in kinds
        )
        typed = wire.parameters(operation, params, signed.query, signed.body)
        request = Request(operation.name, typed, note["at"], effect)
        _describe_version(note, request)
        if kinds & {FaultKind.FOREIGN_BEFORE, FaultKind.FOREIGN_FAILED}:
            self._write_as_another(request, fails=FaultKind.FOREIGN_BEFORE not in kinds)
        answer = perform(self.world, request)
        if isinstance(answer, dict):
            self._follow_up(operation.name, answer, note)
        if FaultKind.FOREIGN_AFTER in kinds:
            image_set = self.world.image_set(request.text("datastoreId"), request.text("imageSetId"))
            self.world.write_as_another_after(image_set)
        _fail_after(kinds)
        return wire.reply(answer)

    def _follow_up(self, action: str, answer: JsonObject, note: Note) -> None:
        if version := answer.get("latestVersionId") or answer.get("versionId"):
            note["version"] = int(str(version))
        if action == "StartDICOMImportJob":
            self._start(self.world.jobs[str(answer["jobId"])])

    def _step_quota(self, now: float) -> None:
        scale = self.faults.scale(now, self.settings.scale)
        if scale is not None and scale != self.world.quota.scale:
            self.world.quota.rescale(scale)

    def _write_as_another(self, request: Request, *, fails: bool) -> None:
        datastore = self.world.datastores.get(request.text("datastoreId"))
        if datastore and (image_set := datastore.image_sets.get(request.text("imageSetId"))):
            self.world.write_as_another(image_set, request.now, fails=fails)

    def _start(self, job: Job) -> None:
        if job.status != "SUBMITTED" and job.ended_at is not None:
            return
        self._begin_task(jobs.run(self, job))

    def _begin_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _save(self) -> None:
        changes, self.world.changes = self.world.changes, []
        self.journal.add_changes(changes)
        if self.world.dirty:
            if self.state:
                self.state.save(self.world.dirty.values())
            self.world.dirty.clear()


def _fail_before(kinds: set[FaultKind]) -> None:
    """Raise the faults that prevent a request from being performed."""
    if kinds & {FaultKind.DROP_BEFORE, FaultKind.LATE}:
        raise Dropped
    if FaultKind.ERROR_BEFORE in kinds:
        raise ServiceError("An internal error occurred.")
    if FaultKind.THROTTLE in kinds:
        raise Throttled("Rate exceeded")
    if FaultKind.CONFLICT in kinds:
        raise Conflict("The image set is still being processed. Try again in a few seconds.")


def _fail_after(kinds: set[FaultKind]) -> None:
    """Raise the faults that hide from a client that its request was performed."""
    if FaultKind.DROP_AFTER in kinds:
        raise Dropped
    if FaultKind.ERROR_AFTER in kinds:
        raise ServiceError("An internal error occurred.")


def _describe(note: Note, operation: ApiOperation, params: dict[str, str]) -> None:
    note["action"] = operation.name
    if datastore_id := _id(params.get("datastoreId")):
        note["datastore_id"] = datastore_id
    if image_set_id := _id(params.get("sourceImageSetId")) or _id(params.get("imageSetId")):
        note["image_set_id"] = image_set_id


def _id(text: str | None) -> str | None:
    """The text if it is an id, else None: any other text could be health data."""
    return text if text and len(text) == 32 and text.isalnum() else None


def _describe_version(note: Note, request: Request) -> None:
    version = request.params.get("latestVersionId") or request.params.get("versionId")
    if isinstance(version, str) and len(version) <= 18:
        note["expected_version"] = int(version)
    note["force"] = request.flag("force")
    note["study_wide"] = request.flag("includeStudyImageSets")


def _own_address(http: BaseRequest) -> str | None:
    """The address of this machine to which a request was sent."""
    address = http.transport.get_extra_info("sockname") if http.transport else None
    return str(address[0]) if address else None


async def _body(http: BaseRequest, largest: int) -> bytes:
    """Read the body. Raises TooLarge."""
    if not http.body_exists:
        return b""
    if http.headers.get("Expect", "").lower() == "100-continue":
        await http.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        http.writer.output_size = 0
    chunks, size = [], 0
    async for chunk in http.content.iter_any():
        size += len(chunk)
        if size > largest:
            raise TooLarge("The request body is too large.")
        chunks.append(chunk)
    return b"".join(chunks)


def _response(reply: Reply, date: str | None = None) -> web.Response:
    headers = {_REQUEST_ID: str(uuid.uuid4())} | reply.headers
    if date is not None:
        headers["Date"] = date
    return web.Response(status=reply.status, body=reply.body, headers=headers)
