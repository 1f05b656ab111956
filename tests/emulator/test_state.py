"""Persistence: what a client was told is there after a restart, also after a kill."""

from __future__ import annotations

import http.client
import json
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from bulkedit.emulator import DEFAULT_DATASTORE_ID, Emulator, ManualClock, serve
from bulkedit.emulator.state.saved import StateError
from tests.emulator.hospital import Json, blob, document, in_series, in_study, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STORE = DEFAULT_DATASTORE_ID


def everything(client: Json) -> Json:
    """All that the service tells about all image sets, newest first."""
    found = []
    for item in client.search_image_sets(datastoreId=STORE)["imageSetsMetadataSummaries"]:
        one = {"datastoreId": STORE, "imageSetId": item["imageSetId"]}
        versions = client.list_image_set_versions(**one)["imageSetPropertiesList"]
        documents = [
            client.get_image_set_metadata(**one, versionId=v["versionId"])["imageSetMetadataBlob"].read()
            for v in versions
        ]
        properties = client.get_image_set(**one)
        for passing in (item, properties):
            passing.pop("lastAccessedAt")  # moved by the reading itself
        properties.pop("ResponseMetadata")
        found.append((item, versions, documents, properties))
    return found


def update(client: Json, image_set_id: str, version: int | str, edit: Json, **options: bool) -> None:
    body = {"DICOMUpdates": {"updatableAttributes": json.dumps(edit)}}
    client.update_image_set_metadata(
        datastoreId=STORE,
        imageSetId=image_set_id,
        latestVersionId=str(version),
        updateImageSetMetadataUpdates=body,
        **options,
    )


def test_a_restart_finds_everything_as_it_was(
    tmp_path: Path, clock: ManualClock, client_of: Callable[..., Json]
) -> None:
    kept = replace(settings(), state=tmp_path / "state")
    with serve(kept, clock=clock) as emulator:
        client = client_of(emulator)
        ids = [emulator.add(document(series)) for series in ("1", "2", "3")]
        for version, edit in enumerate([in_study(StudyDescription="X"), in_study(PatientName="X")], 1):
            update(client, ids[0], version, edit, includeStudyImageSets=True)
            clock.advance(1)
        update(client, ids[1], 3, in_series("1.2.3.2", Modality="MR"))
        clock.advance(1)
        client.tag_resource(resourceArn=arn(client, ids[0]), tags={"a": "1"})
        store = client.create_datastore(datastoreName="other", clientToken="t")["datastoreId"]
        before = everything(client)
        deleted = emulator.add(document(study="9"))
        client.delete_image_set(datastoreId=STORE, imageSetId=deleted)
    clock.advance(1)
    with serve(kept, clock=clock) as emulator:
        client = client_of(emulator)
        assert everything(client) == before
        assert client.list_tags_for_resource(resourceArn=arn(client, ids[0]))["tags"] == {"a": "1"}
        assert client.get_datastore(datastoreId=store)["datastoreProperties"]["datastoreStatus"] == "ACTIVE"
        assert client.create_datastore(clientToken="t")["datastoreId"] == store
        assert client.get_image_set(datastoreId=STORE, imageSetId=deleted)["imageSetState"] == "DELETED"
        update(client, ids[0], 3, in_study(StudyDescription="Y"), includeStudyImageSets=True)


def arn(client: Json, image_set_id: str) -> str:
    return str(client.get_image_set(datastoreId=STORE, imageSetId=image_set_id)["imageSetArn"])


@pytest.mark.parametrize("failed_version", ["consumed", "kept"])
def test_what_was_under_way_goes_on(
    tmp_path: Path, clock: ManualClock, client_of: Callable[..., Json], failed_version: str
) -> None:
    kept = replace(settings(failed_version=failed_version), state=tmp_path / "state")
    with serve(kept, clock=clock) as emulator:
        ids = [emulator.add(document(study=f"9.{number}")) for number in range(2)]
        for one, edit in zip(ids, [in_study(StudyDescription="X"), in_study(PatientName="X")], strict=True):
            update(client_of(emulator), one, 1, edit)
    with serve(kept, clock=clock) as emulator:
        client = client_of(emulator)
        assert [state(client, one) for one in ids] == [("2", "LOCKED", "UPDATING")] * 2
        clock.advance(1)
        number = "2" if failed_version == "consumed" else "1"
        expected = [("2", "ACTIVE", "UPDATED"), (number, "ACTIVE", "UPDATE_FAILED")]
        assert [state(client, one) for one in ids] == expected
    with serve(kept, clock=clock) as emulator:
        assert [state(client_of(emulator), one) for one in ids] == expected
        assert emulator.do(lambda world: world.datastores[STORE].in_progress["UpdateImageSetMetadata"]) == 0


def state(client: Json, image_set_id: str) -> tuple[str, str, str]:
    properties = client.get_image_set(datastoreId=STORE, imageSetId=image_set_id)
    return properties["versionId"], properties["imageSetState"], properties["imageSetWorkflowStatus"]


def test_orders_stay_over_many_restarts(tmp_path: Path, clock: ManualClock, client_of: Callable[..., Json]) -> None:
    kept = replace(settings(), state=tmp_path / "state")
    created: list[str] = []
    updated: list[str] = []
    for start in range(4):
        with serve(kept, clock=clock) as emulator:
            client = client_of(emulator)
            for number in range(3):
                new = emulator.add(document(study=f"9.{start}.{number}"))
                created.append(new)
                updated.append(new)
            gone = created.pop(0)
            updated.remove(gone)
            client.delete_image_set(datastoreId=STORE, imageSetId=gone)
            latest = client.get_image_set(datastoreId=STORE, imageSetId=created[0])["versionId"]
            update(client, created[0], latest, in_study())
            updated.remove(created[0])
            updated.append(created[0])
            clock.advance(1)
            for field, expected in (("createdAt", created), ("updatedAt", updated)):
                criteria = {"sort": {"sortField": field, "sortOrder": "ASC"}}
                answer = client.search_image_sets(datastoreId=STORE, searchCriteria=criteria)
                assert [item["imageSetId"] for item in answer["imageSetsMetadataSummaries"]] == expected


def test_what_cannot_be_kept_is_not_answered_as_done(
    tmp_path: Path, clock: ManualClock, client_of: Callable[..., Json]
) -> None:
    kept = replace(settings(), state=tmp_path / "state")
    with serve(kept, clock=clock) as emulator:
        client, one = client_of(emulator), emulator.add(document())
        assert emulator.server.state is not None
        db = emulator.server.state._db
        emulator.do(lambda _: db.execute("PRAGMA query_only = ON"))
        with pytest.raises(ClientError, match="InternalServerException"):
            update(client, one, 1, in_study(StudyDescription="X"))
        emulator._loop.call_soon_threadsafe(db.execute, "PRAGMA query_only = OFF")
        clock.advance(1)
        update(client, one, 2, in_study(StudyDescription="Y"))
        clock.advance(1)
        before = everything(client)
    with serve(kept, clock=clock) as emulator:
        assert everything(client_of(emulator)) == before


def test_versions_share_what_an_update_did_not_touch(
    tmp_path: Path, clock: ManualClock, client_of: Callable[..., Json]
) -> None:
    path = tmp_path / "state"
    with serve(replace(settings(), state=path), clock=clock) as emulator:
        one = emulator.add(document(instances=50))
        for version in range(1, 11):
            update(client_of(emulator), one, version, in_study(StudyDescription=f"X{version}"))
            clock.advance(1)
    with sqlite3.connect(path) as db:
        # patient, 11 studies, one series, its 50 instances, and the one list of them
        assert db.execute("SELECT count(*) FROM part").fetchone() == (1 + 11 + 1 + 50 + 1,)
    db.close()


def test_a_kill_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    arguments = ["--port", "0", "--state", str(tmp_path / "state"), "--scale", "inf", "--completion-time", "0"]
    with started(*arguments) as url:
        one = json.loads(post(f"{url}/_emulator/image-sets", document()))["imageSetId"]
        path = f"{url}/datastore/{STORE}/imageSet/{one}"
        for version in range(1, 30):
            edit = {"DICOMUpdates": {"updatableAttributes": blob(in_study(StudyDescription=f"X{version}"))}}
            post(f"{path}/updateImageSetMetadata?latestVersion={version}", edit)
    with started(*arguments) as url:
        path = f"{url}/datastore/{STORE}/imageSet/{one}"
        answer = json.loads(post(f"{path}/getImageSet", None))
        assert (answer["versionId"], answer["imageSetWorkflowStatus"]) == ("30", "UPDATED")


def post(url: str, body: Json) -> bytes:
    split = urlsplit(url)
    connection = http.client.HTTPConnection(split.netloc)
    connection.request("POST", f"{split.path}?{split.query}", None if body is None else json.dumps(body))
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    assert answer.status == 200
    return content


class started:  # noqa: N801 - reads as a verb
    """`bulkedit emulate` in a process of its own, killed at the end of the block."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "bulkedit", "emulate", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self.said = ""  # on standard error, once it has ended

    def __enter__(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.said = self.process.communicate()[1]


def a_text(path: Path) -> None:
    path.write_text("patient list")


def a_database_of_another_program(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE patient (name)")


def a_state_of_a_later_version(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 2")


@pytest.mark.parametrize("make", [a_text, a_database_of_another_program, a_state_of_a_later_version])
def test_a_file_that_is_no_state_is_refused_and_stays_as_it_is(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "state"
    make(path)
    before = path.read_bytes()
    with pytest.raises(StateError, match="--state FILE"), serve(replace(settings(), state=path)):
        pass
    assert (path.read_bytes(), list(tmp_path.iterdir())) == (before, [path])


@pytest.mark.parametrize("name", ["", "absent/state", "/dev/null"])
def test_a_place_that_cannot_hold_a_state_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StateError, match="--state FILE"), serve(replace(settings(), state=tmp_path / name)):
        pass


@pytest.fixture
def without_umask() -> Iterator[None]:
    """Every right that a file asks for is given."""
    before = os.umask(0)
    yield
    os.umask(before)


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


@pytest.mark.usefixtures("without_umask")
def test_only_the_owner_can_read_the_state_and_its_wal(tmp_path: Path) -> None:
    with serve(replace(settings(), state=tmp_path / "state")) as emulator:
        emulator.add(document())
        assert modes(tmp_path) == {"state": 0o600, "state-wal": 0o600}
    assert modes(tmp_path) == {"state": 0o600}


def test_others_are_shut_out_of_a_state_that_they_could_read(tmp_path: Path) -> None:
    """As earlier versions wrote it, after a kill: with a WAL beside it."""
    path = tmp_path / "state"
    arguments = ["--port", "0", "--state", str(path)]
    with started(*arguments) as url:
        one = json.loads(post(f"{url}/_emulator/image-sets", document()))["imageSetId"]
    for name in modes(tmp_path):
        (tmp_path / name).chmod(0o644)
    with serve(replace(settings(), state=path)) as emulator:
        assert modes(tmp_path) == {"state": 0o600, "state-wal": 0o600}
        assert emulator.server.state is not None
        assert emulator.server.state.was_open_to_others
        assert emulator.do(lambda world: world.image_set(STORE, one).number) == 1
    with serve(replace(settings(), state=path)) as emulator:
        assert emulator.server.state is not None
        assert not emulator.server.state.was_open_to_others


def test_the_command_says_that_it_has_shut_others_out(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.touch(mode=0o644)
    process = started("--port", "0", "--state", str(path))
    with process as url:
        assert url
    assert f"Other users could read {path}; now only its owner can." in process.said


def test_a_state_file_is_of_one_process_at_a_time(tmp_path: Path, clock: ManualClock) -> None:
    kept = replace(settings(), state=tmp_path / "state")
    with serve(kept, clock=clock) as emulator, pytest.raises(StateError), serve(kept, clock=clock):
        pass
    assert isinstance(emulator, Emulator)
