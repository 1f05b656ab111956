"""What the service documents of updates, asked of a data store through boto3, and one edit from plan to revert.

The data store is the emulator's, or a real one that the environment names (see README.md beside this file). Of a real
one only the image sets that are named are written to, and they end with the content that they began with.
"""

from __future__ import annotations

import gzip
import json
import os
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import boto3
import polars as pl
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import bulkedit
from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings, serve
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

PREFIX: Final = "BULKEDIT_CONFORMANCE_"
DATASTORE, REGION, IMAGE_SETS, ENDPOINT = (
    PREFIX + name for name in ("DATASTORE_ID", "REGION", "IMAGE_SETS", "ENDPOINT_URL")
)
ATTRIBUTE: Final = "SeriesDescription"  # of image sets that are primary, too
PATIENT_S: Final = 300.0
# before the tests' own credentials take the place of the caller's
CALLERS: Final = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}

Json = dict[str, Any]


class IncompleteError(Exception):
    """What the environment says of a data store is not enough."""


@dataclass(frozen=True, slots=True)
class Target:
    """The data store that the tests may use."""

    datastore_id: str
    image_sets: tuple[str, ...]
    region: str | None
    endpoint_url: str | None


def target_of(environ: Mapping[str, str]) -> Target | None:
    """The data store that the variables name; None if they name none."""
    given = {name: value.strip() for name, value in environ.items() if name.startswith(PREFIX) and value.strip()}
    if not given:
        return None
    if unknown := sorted(given.keys() - {DATASTORE, REGION, IMAGE_SETS, ENDPOINT}):
        raise IncompleteError(
            f"{', '.join(unknown)} is unknown; known are {DATASTORE}, {REGION}, {IMAGE_SETS}, {ENDPOINT}"
        )
    needed = {
        DATASTORE: "the id of the data store",
        IMAGE_SETS: "the ids of the image sets that the tests may change, separated by commas",
    }
    if missing := [f"set {name} to {what}" for name, what in needed.items() if name not in given]:
        raise IncompleteError(f"{', '.join(given)} is set, so a data store is meant. Also {' and '.join(missing)}.")
    region = given.get(REGION) or environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    if region is None and "AWS_PROFILE" not in environ:
        raise IncompleteError(f"The region of the data store is not known: set {REGION} to it.")
    return Target(given[DATASTORE], tuple(given[IMAGE_SETS].replace(",", " ").split()), region, given.get(ENDPOINT))


class Store:
    """The operations that the tests use, through boto3."""

    def __init__(self, target: Target) -> None:
        self.target = target
        session = boto3.Session(region_name=target.region)
        if session.get_credentials() is None:
            raise IncompleteError(
                "No credentials of AWS were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and the others."
            )
        config = Config(inject_host_prefix=target.endpoint_url is None)
        self.client: Any = session.client("medical-imaging", endpoint_url=target.endpoint_url, config=config)

    def image_set(self, image_set_id: str) -> Json:
        found: Json = self.client.get_image_set(datastoreId=self.target.datastore_id, imageSetId=image_set_id)
        return found

    def unlocked(self, image_set_id: str) -> Json:
        """The image set when its update has ended."""
        end = time.monotonic() + PATIENT_S
        while (found := self.image_set(image_set_id))["imageSetState"] == "LOCKED":
            assert time.monotonic() < end, f"image set {image_set_id} is still locked after {PATIENT_S:.0f} s"
            time.sleep(0.5 if self.target.endpoint_url is None else 0.01)
        return found

    def version(self, image_set_id: str) -> int:
        return int(self.unlocked(image_set_id)["versionId"])

    def content(self, image_set_id: str, version: int) -> Json:
        """Patient and Study of a version's metadata."""
        answer = self.client.get_image_set_metadata(
            datastoreId=self.target.datastore_id, imageSetId=image_set_id, versionId=str(version)
        )
        found = json.loads(gzip.decompress(answer["imageSetMetadataBlob"].read()))
        return {level: found[level] for level in ("Patient", "Study")}

    def update(self, image_set_id: str, version: int, updates: Json) -> Json:
        answer: Json = self.client.update_image_set_metadata(
            datastoreId=self.target.datastore_id,
            imageSetId=image_set_id,
            latestVersionId=str(version),
            updateImageSetMetadataUpdates=updates,
        )
        return answer

    def applied(self, image_set_id: str, updates: Json) -> int:
        """The version that an update of the latest one has made."""
        before = self.version(image_set_id)
        self.update(image_set_id, before, updates)
        found = self.unlocked(image_set_id)
        assert (found["imageSetState"], found["imageSetWorkflowStatus"]) == ("ACTIVE", "UPDATED"), found.get("message")
        return int(found["versionId"])


@contextmanager
def as_they_were(store: Store) -> Iterator[None]:
    """Revert the image sets that have changed, whatever happens in between."""
    first = {one: store.version(one) for one in store.target.image_sets}
    try:
        yield
    finally:
        for one, version in first.items():
            if store.version(one) != version:
                store.applied(one, {"revertToVersionId": str(version)})


@pytest.fixture(scope="module")
def store() -> Iterator[Store]:
    """A real data store with the caller's own credentials, or the emulator."""
    try:
        target = target_of({**{name: os.environ[name] for name in os.environ if name.startswith(PREFIX)}, **CALLERS})
        with pytest.MonkeyPatch.context() as patch:
            if target is None:
                with _emulated() as found:
                    yield found
                return
            for name in [name for name in os.environ if name.startswith("AWS_")]:
                patch.delenv(name)
            for name, value in CALLERS.items():
                patch.setenv(name, value)
            found = Store(target)
            with as_they_were(found):
                yield found
    except IncompleteError as error:
        pytest.fail(str(error), pytrace=False)


@contextmanager
def _emulated() -> Iterator[Store]:
    with serve(Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))) as emulator:
        ids = tuple(emulator.add(document(study=f"1.2.{number}"), primary=False) for number in (1, 2))
        found = Store(Target(emulator.datastore_id, ids, "us-east-1", emulator.url))
        with as_they_were(found):
            yield found


@pytest.fixture
def image_set(store: Store) -> str:
    return store.target.image_sets[0]


def series_of(content: Json) -> tuple[str, Json]:
    """The first series: its UID and attributes."""
    uid, series = next(iter(content["Study"]["Series"].items()))
    return uid, series["DICOM"]


def changing(kind: str, uid: str, value: str) -> Json:
    text = json.dumps({"SchemaVersion": 1.1, "Study": {"Series": {uid: {"DICOM": {ATTRIBUTE: value}}}}})
    return {"DICOMUpdates": {f"{kind}Attributes": text.encode()}}


def test_the_data_store_is_active(store: Store) -> None:
    found = store.client.get_datastore(datastoreId=store.target.datastore_id)["datastoreProperties"]
    assert (found["datastoreId"], found["datastoreStatus"]) == (store.target.datastore_id, "ACTIVE")


def test_an_update_makes_the_next_version_with_the_new_value_and_nothing_else(store: Store, image_set: str) -> None:
    before = store.version(image_set)
    old = store.content(image_set, before)
    uid, _ = series_of(old)
    answer = store.update(image_set, before, changing("updatable", uid, "bulkedit conformance"))
    assert (answer["imageSetState"], answer["imageSetWorkflowStatus"]) == ("LOCKED", "UPDATING")
    assert store.version(image_set) == before + 1 == int(answer["latestVersionId"])
    new = store.content(image_set, before + 1)
    assert series_of(new)[1].pop(ATTRIBUTE) == "bulkedit conformance"
    series_of(old)[1].pop(ATTRIBUTE, None)
    assert new == old


def test_an_attribute_is_removed_and_an_older_version_still_has_it(store: Store, image_set: str) -> None:
    uid, _ = series_of(store.content(image_set, store.version(image_set)))
    there = store.applied(image_set, changing("updatable", uid, "to remove"))
    gone = store.applied(image_set, changing("removable", uid, "to remove"))
    assert ATTRIBUTE not in series_of(store.content(image_set, gone))[1]
    assert series_of(store.content(image_set, there))[1][ATTRIBUTE] == "to remove"


def test_an_update_of_an_older_version_is_refused_and_makes_no_version(store: Store, image_set: str) -> None:
    uid, _ = series_of(store.content(image_set, store.version(image_set)))
    latest = store.applied(image_set, changing("updatable", uid, "latest"))
    with pytest.raises(ClientError, match=r"ResourceNotFoundException|ConflictException"):
        store.update(image_set, latest - 1, changing("updatable", uid, "of an older version"))
    assert store.version(image_set) == latest


def test_a_revert_makes_a_new_version_with_the_old_content(store: Store, image_set: str) -> None:
    before = store.version(image_set)
    old = store.content(image_set, before)
    store.applied(image_set, changing("updatable", series_of(old)[0], "to revert"))
    reverted = store.applied(image_set, {"revertToVersionId": str(before)})
    assert reverted == before + 2
    assert store.content(image_set, reverted) == old


def test_all_versions_are_listed_from_the_newest(store: Store, image_set: str) -> None:
    pages = store.client.get_paginator("list_image_set_versions").paginate(
        datastoreId=store.target.datastore_id, imageSetId=image_set
    )
    found = [int(one["versionId"]) for page in pages for one in page["imageSetPropertiesList"]]
    assert found == list(range(store.version(image_set), 0, -1))


def test_a_search_by_series_finds_the_image_set(store: Store, image_set: str) -> None:
    uid, _ = series_of(store.content(image_set, store.version(image_set)))
    criteria = {"filters": [{"values": [{"DICOMSeriesInstanceUID": uid}], "operator": "EQUAL"}]}
    pages = store.client.get_paginator("search_image_sets").paginate(
        datastoreId=store.target.datastore_id, searchCriteria=criteria
    )
    assert image_set in {one["imageSetId"] for page in pages for one in page["imageSetsMetadataSummaries"]}


async def test_bulkedit_applies_verifies_and_reverts(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    where = bulkedit.Where(endpoint_url=store.target.endpoint_url, region=store.target.region)
    before = {one: store.content(one, store.version(one)) for one in store.target.image_sets}
    edits = pl.DataFrame(
        [
            {"image_set_id": one, "series_uid": series_of(content)[0], "attribute": ATTRIBUTE, "value": "by bulkedit"}
            for one, content in before.items()
        ]
    ).with_columns(action=pl.lit("set"))
    plan = await bulkedit.plan(edits, store.target.datastore_id, folder="p", where=where)
    result = await bulkedit.apply(plan, run="r", where=where)
    assert result.summary["applied"] == len(before)
    verified = await bulkedit.verify("r")
    assert verified.verification is not None
    assert verified.verification.differences().collect().height == 0
    for one in before:
        assert series_of(store.content(one, store.version(one)))[1][ATTRIBUTE] == "by bulkedit"
    undo = await bulkedit.revert("r", folder="undo")
    await bulkedit.apply(undo.plan, run="u", where=where)
    assert {one: store.content(one, store.version(one)) for one in before} == before


def test_what_a_failed_test_has_changed_is_put_back() -> None:
    with _emulated() as store:
        one, other = store.target.image_sets
        old, uid = store.content(one, 1), series_of(store.content(one, 1))[0]
        with pytest.raises(ClientError), as_they_were(store):
            store.update(
                one, store.applied(one, changing("updatable", uid, "left behind")) - 1, changing("updatable", uid, "")
            )
        assert (store.version(one), store.content(one, 3)) == (3, old)
        assert store.version(other) == 1


# -- the variables


FULL = {DATASTORE: "d" * 32, IMAGE_SETS: "a, b", REGION: "eu-west-1", ENDPOINT: " "}


def test_without_the_variables_no_data_store_is_meant() -> None:
    assert target_of({"AWS_REGION": "us-east-1", DATASTORE: " "}) is None


def test_the_variables_name_a_data_store() -> None:
    assert target_of(FULL) == Target("d" * 32, ("a", "b"), "eu-west-1", None)
    assert target_of({**FULL, REGION: "", "AWS_REGION": "us-west-2"}) == Target("d" * 32, ("a", "b"), "us-west-2", None)


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({DATASTORE: "d"}, f"Also set {IMAGE_SETS} to the ids"),
        ({REGION: "us-east-1"}, f"Also set {DATASTORE} to the id of the data store and set {IMAGE_SETS}"),
        ({**FULL, REGION: ""}, f"set {REGION} to it"),
        ({**FULL, PREFIX + "IMAGESETS": "a"}, f"{PREFIX}IMAGESETS is unknown"),
    ],
    ids=["no image sets", "no data store", "no region", "a misspelt name"],
)
def test_what_is_missing_is_named(environ: dict[str, str], said: str) -> None:
    with pytest.raises(IncompleteError, match=said):
        target_of(environ)
