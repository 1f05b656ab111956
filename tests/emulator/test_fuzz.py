"""Whatever comes in: the documented error shape, never a 500 that was not asked for, never a changed world.

Requests are drawn from the service's model, with values that exist and values that do not, and then damaged: method,
path, query, body. The long form (``-m slow``) sends ten thousand.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest
from botocore.model import ListShape, MapShape, StringShape, StructureShape
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bulkedit.emulator import DEFAULT_DATASTORE_ID, UNTHROTTLED, CompletionTime, ManualClock, Settings
from bulkedit.emulator.api.model import operations, service_model
from bulkedit.emulator.http.server import Server
from bulkedit.emulator.http.signing import Signed
from tests.emulator.hospital import NOW, document

if TYPE_CHECKING:
    from botocore.model import Shape

    from bulkedit.emulator.api.model import ApiOperation
    from bulkedit.emulator.state.journal import Note

    Request = tuple[str, str, str, bytes]  # method, path, query, body

CODES = {
    *("ValidationException", "AccessDeniedException", "ResourceNotFoundException", "ConflictException"),
    *("ServiceQuotaExceededException", "ThrottlingException", "UnknownOperationException"),
}
UIDS = ["1.2.3", "1.2.3.1", "1.2.3.1.1", "1.2.3.1.2", "9.9", ""]
NAMES = [
    *("PatientName", "PatientID", "StudyDescription", "StudyInstanceUID", "StudyID", "SeriesInstanceUID", "Modality"),
    *("SOPInstanceUID", "KVP", "OtherPatientNames", "PixelData", "ProcedureCodeSequence", "00091001", "0009abcd"),
    *("SchemaVersion", "Series", "Instances", "DICOM", "DICOMVRs", "Patient", "Study", "", "é"),
]

texts = st.text(max_size=8)
scalars = st.sampled_from([None, True, 0, -1, 2**70, 0.5, 1e308, "", "CHEST", "120 ", "x" * 300, "\ud800"]) | texts
json_values = st.one_of(
    scalars,
    scalars,
    st.lists(scalars, max_size=3),
    st.dictionaries(st.sampled_from(NAMES), scalars, max_size=3),
    st.lists(st.dictionaries(st.sampled_from(NAMES), st.lists(scalars, max_size=2), max_size=2), max_size=2),
)


def often(good: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly what fits, sometimes anything."""
    return st.integers(0, 19).flatmap(lambda n: json_values if n == 0 else good)


elements = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(["CHEST", "120 ", None]) | json_values, max_size=2)
vrs = st.dictionaries(st.sampled_from(["00091001", "0009ABCD"]), st.sampled_from(["LO", "XX", None]), max_size=2)


def level(*more: tuple[str, st.SearchStrategy[Any]]) -> st.SearchStrategy[Any]:
    return often(st.fixed_dictionaries({}, optional={"DICOM": often(elements), "DICOMVRs": often(vrs)} | dict(more)))


instances = often(st.dictionaries(st.sampled_from(UIDS), level(), max_size=2))
series = often(st.dictionaries(st.sampled_from(UIDS), level(("Instances", instances)), max_size=2))
attribute_documents = st.fixed_dictionaries(
    {"SchemaVersion": st.sampled_from([1.1, "1.1", 1.1, 1.1, 2])},
    optional={"Patient": level(), "Study": level(("Series", series))},
)
blobs = st.one_of(
    *[attribute_documents.map(lambda d: base64.b64encode(json.dumps(d).encode()).decode())] * 5,
    json_values.map(lambda d: base64.b64encode(json.dumps(d).encode()).decode()),
    st.binary(max_size=50).map(lambda b: base64.b64encode(b).decode()),
    texts,
)
KNOWN: dict[str, st.SearchStrategy[Any]] = {
    "DatastoreId": st.sampled_from([DEFAULT_DATASTORE_ID] * 5 + ["f" * 32]),
    "ImageSetId": st.sampled_from(["a" * 32, "b" * 32, "c" * 32, "c" * 32, "f" * 32]),
    "ImageSetExternalVersionId": st.sampled_from([*"1111122233", "01", "9" * 20]),
    "DICOMAttribute": blobs,
    "CopiableAttributes": attribute_documents.map(json.dumps) | texts,
    "Arn": st.sampled_from(["", "/imageset/" + "a" * 32, "/x"]).map(
        f"arn:aws:medical-imaging:us-east-1:000000000000:datastore/{DEFAULT_DATASTORE_ID}".__add__
    ),
    "S3Uri": st.sampled_from(["s3://bucket/x", "file:///", "file:///nowhere", "http://x"]),
    "RoleArn": st.just("arn:aws:iam::000000000000:role/x"),
    "DICOMStudyInstanceUID": st.sampled_from(UIDS),
    "DICOMSeriesInstanceUID": st.sampled_from(UIDS),
}


@functools.cache
def params_of(operation: str) -> st.SearchStrategy[Any]:
    shape = service_model().operation_model(operation).input_shape
    return valid(shape) if shape else st.just({})


def valid(shape: Shape) -> st.SearchStrategy[Any]:
    """Values of a shape; its members sometimes are none of theirs."""
    if shape.name in KNOWN:
        return KNOWN[shape.name]
    if isinstance(shape, StructureShape):
        return structure(shape)
    if isinstance(shape, ListShape):
        return st.lists(often(valid(shape.member)), min_size=1, max_size=2)
    if isinstance(shape, MapShape):
        return st.dictionaries(st.text("abc:", max_size=5), often(valid(shape.value)), max_size=3)
    if isinstance(shape, StringShape):
        return st.sampled_from(shape.enum) if shape.enum else st.text("abc012", min_size=1, max_size=8)
    return {"boolean": st.booleans(), "timestamp": st.floats(0, 2e9)}.get(shape.type_name, st.integers(-1, 60))


def structure(shape: StructureShape) -> st.SearchStrategy[Any]:
    members = {name: often(valid(member)) for name, member in shape.members.items()}
    if shape.metadata.get("union"):
        return st.one_of(*(st.fixed_dictionaries({name: one}) for name, one in members.items()))
    required = {name: one for name, one in members.items() if name in shape.required_members}
    return st.fixed_dictionaries(required, optional={n: m for n, m in members.items() if n not in required})


OPERATIONS = [*operations().values(), *[operations()["UpdateImageSetMetadata"]] * 15, operations()["CopyImageSet"]]


@st.composite
def requests(draw: st.DrawFn) -> Request:
    """One request to any operation, perhaps damaged."""
    operation = draw(st.sampled_from(OPERATIONS))
    params = draw(params_of(operation.name))
    method, path, query, body = written(operation, params)
    damage = draw(st.sampled_from([*"mpqbt", *" " * 30]))
    if damage == "m":
        method = draw(st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH"]))
    elif damage == "p":
        path = path[: draw(st.integers(0, len(path)))] + draw(st.text("/%.ab~é", max_size=5))
    elif damage == "q":
        query += draw(st.text("&=?%+ab1", max_size=10))
    elif damage == "b":
        body = draw(st.binary(max_size=50))
    elif damage == "t":
        body = body[: draw(st.integers(0, len(body)))]
    return method, path, query, body


def written(operation: ApiOperation, params: dict[str, Any]) -> Request:
    segments = [
        quote(str(params.get(segment[1:-1], "")), safe="", errors="replace") if segment.startswith("{") else segment
        for segment in operation.segments
    ]
    query = [(wire, text(params[name])) for wire, (name, _) in operation.query.items() if name in params]
    if operation.payload:
        body: Any = params.get(operation.payload)
    else:
        body = {name: value for name, value in params.items() if name in operation.body}
    encoded = b"" if body is None else json.dumps(body).encode()
    return operation.method, "/" + "/".join(segments), urlencode(query, doseq=True, errors="replace"), encoded


def text(value: Any) -> Any:
    return [str(one) for one in value] if isinstance(value, list) else json.dumps(value).strip('"')


class Target:
    """A server without sockets, and what its world holds."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW)
        self.server = Server(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=1.0)), clock=self.clock)
        world = self.server.world
        for image_set_id, name, primary in (("a" * 32, "1", True), ("b" * 32, "2", True), ("c" * 32, "1", False)):
            content = document(name)
            world.add_image_set(DEFAULT_DATASTORE_ID, content, now=NOW, image_set_id=image_set_id, primary=primary)
        self.server._start = lambda _: None  # type: ignore[method-assign, assignment]  # jobs need a loop

    def send(self, request: Request) -> tuple[int, str | None, bytes]:
        method, path, query, body = request
        note: Note = {"at": self.server.now(), "kind": "request"}
        reply = self.server._answer(Signed(method, path, query, {}, body), note, [])
        return reply.status, reply.headers.get("x-amzn-ErrorType"), reply.body

    def holds(self) -> Any:
        self.server.catch_up()
        world = self.server.world
        image_sets = [
            (s.id, s.pending, s.deleted_at, s.tags, [(v.status, v.document) for v in s.versions])
            for datastore in world.datastores.values()
            for s in datastore.image_sets.values()
        ]
        stores = [(d.id, d.name, d.status, d.tags) for d in world.datastores.values()]
        return image_sets, stores, [dataclasses.astuple(job) for job in world.jobs.values()]


def check(sent: list[tuple[Request, bool]]) -> None:
    target = Target()
    for request, waits in sent:
        before = target.holds()
        status, code, body = target.send(request)
        if status == 200:
            assert code is None
        else:
            assert code in CODES, (status, code)
            assert list(json.loads(body)) == ["message"]
            assert target.holds() == before
        if waits:
            target.clock.advance(2)
    target.clock.advance(2)  # a copy that will fail is empty until then
    target.holds()
    for image_set in target.server.world.datastores[DEFAULT_DATASTORE_ID].image_sets.values():
        assert (
            image_set.deleted_at is not None
            or image_set.latest.document.instance_count > 0
            or (image_set.latest.status == "COPY_FAILED")
        )


def one_edit(image_set: str, version: int, force: bool, wide: bool, updates: Any) -> Request:
    """An update that may well be accepted."""
    query = f"latestVersion={version}&force={json.dumps(force)}&includeStudyImageSets={json.dumps(wide)}"
    path = f"/datastore/{DEFAULT_DATASTORE_ID}/imageSet/{image_set * 32}/updateImageSetMetadata"
    return "POST", path, query, json.dumps(updates).encode()


edits = st.builds(
    one_edit,
    st.sampled_from("abc"),
    st.sampled_from([1, 1, 1, 2, 3]),
    st.booleans(),
    st.sampled_from([False, False, True]),
    st.fixed_dictionaries(
        {
            "DICOMUpdates": st.dictionaries(
                st.sampled_from(["updatableAttributes", "removableAttributes"]),
                attribute_documents.map(lambda d: base64.b64encode(json.dumps(d).encode()).decode()),
                min_size=1,
            )
        }
    ),
)
sendings = st.tuples(requests() | edits, st.booleans())
SENT = st.lists(sendings, min_size=1, max_size=8)


@given(SENT)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_fuzzed_requests_are_answered_in_the_documented_shape(sent: list[tuple[Request, bool]]) -> None:
    check(sent)


@pytest.mark.slow
@given(st.lists(sendings, min_size=8, max_size=8))
@settings(max_examples=1250, deadline=None, suppress_health_check=list(HealthCheck))
def test_ten_thousand_fuzzed_requests_are_too(sent: list[tuple[Request, bool]]) -> None:
    check(sent)
