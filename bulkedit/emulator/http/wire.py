"""Converts HTTP requests to parameters, and results to HTTP responses: rest-json (reference sections 1.2 to 1.5)."""

from __future__ import annotations

import functools
import gzip
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import parse_qsl, unquote

from bulkedit.emulator.api.failures import Invalid, ServiceError
from bulkedit.emulator.api.model import operations
from bulkedit.emulator.api.request import Blob
from bulkedit.emulator.state.document import load

if TYPE_CHECKING:
    from bulkedit._json import Json, JsonObject
    from bulkedit.emulator.api.model import ApiOperation
    from bulkedit.emulator.api.views import Answer

JSON: Final = "application/json"


class UnknownOperation(ServiceError):  # noqa: N818
    """No operation has this path."""

    code: ClassVar[str] = "UnknownOperationException"
    status: ClassVar[int] = 404


class WrongMethod(UnknownOperation):
    """The path belongs to an operation, but with another method."""

    status: ClassVar[int] = 405


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@functools.cache
def _routes() -> dict[tuple[str, ...], dict[str, ApiOperation]]:
    routes: dict[tuple[str, ...], dict[str, ApiOperation]] = {}
    for operation in operations().values():
        routes.setdefault(_pattern(operation.segments), {})[operation.method] = operation
    return routes


@functools.cache
def _literals() -> frozenset[str]:
    return frozenset(s for operation in operations().values() for s in operation.segments if not s.startswith("{"))


def _pattern(segments: tuple[str, ...]) -> tuple[str, ...]:
    return tuple("*" if segment.startswith("{") else segment for segment in segments)


def route(method: str, path: str) -> tuple[ApiOperation, dict[str, str]]:
    """The operation of an encoded path, and the parameters in the path. Raises UnknownOperation or WrongMethod."""
    segments = path.removeprefix("/").split("/")
    if segments[0] == "tags":  # an ARN has slashes; SDKs encode them, users of curl often do not
        segments = ["tags", "/".join(segments[1:])] if segments[1:] else segments
    literals = _literals()
    found = _routes().get(tuple(segment if segment in literals else "*" for segment in segments))
    if not found:
        raise UnknownOperation("No operation has this path.")
    if method not in found:
        raise WrongMethod("No operation has this path and method.")
    operation = found[method]
    pairs = zip(operation.segments, segments, strict=True)
    return operation, {name[1:-1]: unquote(value) for name, value in pairs if name.startswith("{")}


def parameters(operation: ApiOperation, path_params: dict[str, str], query: str, body: bytes) -> JsonObject:
    """All parameters of a request, with the types of the model. Raises Invalid if one is not valid."""
    params: JsonObject = {**path_params, **_query_params(operation, query)}
    if operation.payload:
        if body:
            params[operation.payload] = _load(body)
    elif operation.body:
        given = _load(body) if body else {}
        if not isinstance(given, dict):
            raise Invalid("The request body is not a JSON object")
        params |= {name: value for name, value in given.items() if name in operation.body}
    operation.check(params, "")
    return {name: value for name, value in params.items() if value is not None}


def _query_params(operation: ApiOperation, query: str) -> JsonObject:
    params: JsonObject = {}
    for wire_name, text in parse_qsl(query, keep_blank_values=True):
        if wire_name not in operation.query:
            continue
        name, kind = operation.query[wire_name]
        if kind == "list":
            before = params.get(name)
            params[name] = [*before, text] if isinstance(before, list) else [text]
        else:
            params[name] = _typed(name, kind, text)
    return params


def _typed(name: str, kind: str, text: str) -> str | int | bool:
    if kind == "boolean":
        if text not in {"true", "false"}:
            raise Invalid(f"{name} must be true or false")
        return text == "true"
    if kind == "integer":
        if not text.isascii() or not text.lstrip("-").isdigit() or len(text) > 10:
            raise Invalid(f"{name} must be an integer")
        return int(text)
    return text


def _load(body: bytes) -> Json:
    try:
        return load(body.decode("utf-8"))
    except (ValueError, RecursionError):
        raise Invalid("The request body is not valid JSON") from None


def reply(answer: Answer | Blob) -> Reply:
    """The HTTP response of a result. Metadata is always gzipped (get-image-set-metadata)."""
    if isinstance(answer, Blob):
        body = gzip.compress(answer.content, compresslevel=1, mtime=0)
        return Reply(200, body, {"Content-Type": JSON, "Content-Encoding": "gzip"})
    return Reply(200, json.dumps(answer, separators=(",", ":")).encode(), {"Content-Type": JSON})


def refusal(error: ServiceError) -> Reply:
    """The HTTP response of an error: its code in a header, its message in the body (reference section 1.5)."""
    body = json.dumps({"message": error.message}, separators=(",", ":")).encode()
    return Reply(error.status, body, {"Content-Type": JSON, "x-amzn-ErrorType": error.code} | error.headers)
