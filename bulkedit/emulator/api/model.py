"""The service's model from botocore, with bulkedit's additions: routes, and checks of parameters.

botocore's clients do not check lengths, patterns or ranges, so the server must (reference section 1.3). Error messages
have the wording of the service's framework, and never quote a value.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, ServiceModel, StringShape, StructureShape

from bulkedit.emulator.api.failures import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.model import OperationModel, Shape

    from bulkedit._json import Json

    Check = Callable[[Any, str], None]

SERVICE: Final = "medical-imaging"
# The model allows only S3 URIs, but the emulator imports local folders.
_ALSO_ALLOWED: Final = {"S3Uri": r"|file:///.*"}


@functools.cache
def service_model() -> ServiceModel:
    """The model of requests and responses."""
    loader = Loader(extra_search_paths=[str(resources.files("bulkedit").joinpath("data/botocore"))])
    return ServiceModel(loader.load_service_model(SERVICE, "service-2"), SERVICE)


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """The route and parameters of one operation."""

    name: str
    method: str
    segments: tuple[str, ...]  # of the path; "{name}" is a parameter
    query: dict[str, tuple[str, str]]  # name in the query string -> (parameter, type)
    payload: str | None  # the parameter that is the whole body
    body: frozenset[str]  # parameters that are members of a JSON body
    check: Check


@functools.cache
def operations() -> dict[str, ApiOperation]:
    """All operations of the model."""
    model = service_model()
    return {name: _operation(model.operation_model(name)) for name in model.operation_names}


def _operation(model: OperationModel) -> ApiOperation:
    shape = model.input_shape
    members = shape.members if isinstance(shape, StructureShape) else {}
    payload = shape.serialization.get("payload") if shape else None
    query = {
        member.serialization["name"]: (name, member.type_name)
        for name, member in members.items()
        if member.serialization.get("location") == "querystring"
    }
    body = frozenset(n for n, m in members.items() if "location" not in m.serialization and n != payload)
    segments = tuple(model.http["requestUri"].partition("?")[0].strip("/").split("/"))
    check = check_of(shape) if shape else _anything
    return ApiOperation(model.name, model.http["method"], segments, query, payload, body, check)


def check_of(shape: Shape) -> Check:
    """A check for values of a shape. It raises Invalid, which names the path and the constraint."""
    if isinstance(shape, StructureShape):
        return _structure(shape)
    if isinstance(shape, ListShape):
        return _list(shape)
    if isinstance(shape, MapShape):
        return _map(shape)
    if isinstance(shape, StringShape):
        return _string(shape)
    return {"integer": _integer, "boolean": _boolean, "timestamp": _timestamp, "blob": _blob}[shape.type_name](shape)


def fail(path: str, constraint: str) -> Invalid:
    """The error for a value, in the wording of the service's framework."""
    return Invalid(
        f"1 validation error detected. Value at '{path or '/'}' failed to satisfy constraint: Member must {constraint}"
    )


def _anything(_value: object, _path: str) -> None:
    return


def _structure(shape: StructureShape) -> Check:
    checks = {name: check_of(member) for name, member in shape.members.items()}
    required, union = list(shape.required_members), shape.metadata.get("union", False)

    def check(value: Json, path: str) -> None:
        if not isinstance(value, dict):
            raise fail(path, "be a structure")
        for name in required:
            if value.get(name) is None:
                raise fail(f"{path}/{name}", "not be null")
        given = [name for name, member in value.items() if member is not None]
        if union and (len(given) != 1 or given[0] not in checks):
            raise fail(path, f"have exactly one of {', '.join(checks)}")
        for name in given:
            if name in checks:  # unknown members are ignored
                checks[name](value[name], f"{path}/{name}")

    return check


def _list(shape: ListShape) -> Check:
    member, length = check_of(shape.member), _length(shape)

    def check(value: Json, path: str) -> None:
        if not isinstance(value, list):
            raise fail(path, "be a list")
        length(len(value), path)
        for place, one in enumerate(value, 1):
            member(one, f"{path}/{place}/member")

    return check


def _map(shape: MapShape) -> Check:
    key, member, length = check_of(shape.key), check_of(shape.value), _length(shape)

    def check(value: Json, path: str) -> None:
        if not isinstance(value, dict):
            raise fail(path, "be a map")
        length(len(value), path)
        for name, one in value.items():
            key(name, f"{path}/key")
            member(one, f"{path}/value")

    return check


def _length(shape: Shape) -> Callable[[int, str], None]:
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max", math.inf)

    def check(length: int, path: str) -> None:
        if not low <= length <= high:
            raise fail(path, f"have length between {low} and {high}, inclusive")

    return check


def _string(shape: StringShape) -> Check:
    length, choices = _length(shape), list(shape.enum)
    pattern = shape.metadata.get("pattern")
    compiled = re.compile(_python_pattern(pattern) + _ALSO_ALLOWED.get(shape.name, "")) if pattern else None

    def check(value: Json, path: str) -> None:
        if not isinstance(value, str):
            raise fail(path, "be a string")
        length(len(value), path)
        if choices and value not in choices:
            raise fail(path, f"satisfy enum value set: [{', '.join(choices)}]")
        if compiled and not compiled.fullmatch(value):
            raise fail(path, f"satisfy regular expression pattern: {pattern}")

    return check


def _python_pattern(pattern: str) -> str:
    return "(?a:" + pattern.replace(r"\p{ASCII}", r"[\x00-\x7f]") + ")"


def _integer(shape: Shape) -> Check:
    low, high = shape.metadata.get("min", -(2**31)), shape.metadata.get("max", 2**31 - 1)

    def check(value: Json, path: str) -> None:
        if not isinstance(value, int) or isinstance(value, bool):
            raise fail(path, "be an integer")
        if not low <= value <= high:
            raise fail(path, f"be between {low} and {high}, inclusive")

    return check


def _boolean(_shape: Shape) -> Check:
    def check(value: Json, path: str) -> None:
        if not isinstance(value, bool):
            raise fail(path, "be a boolean")

    return check


def _timestamp(_shape: Shape) -> Check:
    def check(value: Json, path: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e12:
            raise fail(path, "be a timestamp in epoch seconds")

    return check


def _blob(_shape: Shape) -> Check:
    # `state.updates` decodes and checks attributes blobs, with the profile's limit
    return _anything
