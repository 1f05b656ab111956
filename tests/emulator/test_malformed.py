"""Requests and settings of a form that no client of the SDK sends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.emulator import Settings
from bulkedit.emulator.api import paging, stores
from bulkedit.emulator.api.failures import Denied, Invalid
from bulkedit.emulator.api.model import operations
from bulkedit.emulator.api.views import _whole
from bulkedit.emulator.clock import ScaledClock
from bulkedit.emulator.http.control import check_access
from bulkedit.emulator.http.import_jobs import OutsideError, folder_of
from bulkedit.emulator.http.wire import parameters
from bulkedit.emulator.state.editing import _same
from bulkedit.emulator.state.updates import parse_updates
from tests.emulator.hospital import Service

if TYPE_CHECKING:
    from pathlib import Path

    from bulkedit._json import Json

ARN = "arn:aws:medical-imaging:us-east-1:123456789012:datastore/" + "0" * 32
REVERT = {"revertToVersionId": "1"}


@pytest.mark.parametrize(
    ("action", "params", "said"),
    [
        ("SearchImageSets", {"searchCriteria": {"filters": "x"}}, "be a list"),
        ("TagResource", {"resourceArn": ARN, "tags": []}, "be a map"),
        ("SearchImageSets", {"datastoreId": 5}, "be a string"),
        ("SearchImageSets", {"maxResults": "5"}, "be an integer"),
        ("SearchImageSets", {"maxResults": True}, "be an integer"),
        (
            "UpdateImageSetMetadata",
            {"imageSetId": "0" * 32, "latestVersionId": "1", "updateImageSetMetadataUpdates": REVERT, "force": "yes"},
            "be a boolean",
        ),
    ],
)
def test_a_parameter_of_another_type_is_refused(action: str, params: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        operations()[action].check({"datastoreId": "0" * 32, **params}, "")


def test_a_body_that_is_no_object_is_refused() -> None:
    with pytest.raises(Invalid, match="not a JSON object"):
        parameters(operations()["CreateDatastore"], {}, "", b"[]")


@pytest.mark.parametrize("position", ["x", -1, True, [1]])
def test_a_token_whose_position_is_no_number_is_refused(position: Json) -> None:
    token = paging.token_of(position, scope="s")
    with pytest.raises(Invalid, match="nextToken is not valid"):
        paging.number_of(token, scope="s", default=0)


@pytest.mark.parametrize(
    ("updates", "said"),
    [
        ("x", "must be a JSON object"),
        ({}, "Exactly one of"),
        ({"revertToVersionId": "1", "DICOMUpdates": {}}, "Exactly one of"),
        ({"DICOMUpdates": "x"}, "updatableAttributes and removableAttributes only"),
    ],
)
def test_updates_of_another_form_are_refused(updates: Json, said: str) -> None:
    service = Service(Settings())
    with pytest.raises(Invalid, match=said):
        parse_updates(updates, service.world.profile)


def test_an_id_is_taken_once() -> None:
    service = Service(Settings())
    one = service.add()
    with pytest.raises(ValueError, match="exists already"):
        service.add(image_set_id=one)


def test_a_quota_of_an_unknown_operation_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown operation in quotas: Nonsense"):
        Settings(quotas={"Nonsense": 1})  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("a", "b", "same"), [(True, 1, False), (1, 1.0, True), (True, True, True), ([0], [False], False)]
)
def test_true_is_not_one(a: Json, b: Json, same: bool) -> None:
    assert _same(a, b) is same


@pytest.mark.parametrize(("text", "number"), [("12", 12), ("x", None), (12, None)])
def test_a_count_is_a_whole_number_as_text(text: object, number: int | None) -> None:
    assert _whole(text) == number


def test_the_control_endpoint_is_for_this_machine() -> None:
    with pytest.raises(Denied, match="this machine only"):
        check_access("192.0.2.1", None, None)


@pytest.mark.parametrize("uri", ["s3://bucket/folder", "file://host/folder", "file:///a%00b"])
def test_a_folder_of_another_machine_is_outside(uri: str, tmp_path: Path) -> None:
    with pytest.raises(OutsideError):
        folder_of(uri, [tmp_path])


def test_a_data_store_is_deleted_once_and_their_number_is_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(Settings(scale=math.inf))
    monkeypatch.setattr(stores, "MOST", 1)
    assert service.call("CreateDatastore", clientToken="t")[0] == "ServiceQuotaExceededException"
    service.call("DeleteDatastore")
    assert service.call("DeleteDatastore") == ("ConflictException", "The data store is not active.")


async def test_scaled_time_is_slept_in_its_share() -> None:
    clock = ScaledClock(1_000_000, 0)
    await clock.sleep(1_000)
    assert clock.now() >= 1_000
