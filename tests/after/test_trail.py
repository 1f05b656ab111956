"""Files of CloudTrail: every form is read, nothing of a hostile one does harm, and no value of an edit is kept."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from bulkedit.after.trail import json_stream
from bulkedit.after.trail.compare import EVENTS, Comparison, Finding, SentByRun, compared
from bulkedit.after.trail.events import EventCounts, TrailEvent, events_of, files_of
from bulkedit.after.trail.json_stream import UnreadableLogError, values_of
from bulkedit.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

IMAGE_SET = "a" * 32
UPDATE = "UpdateImageSetMetadata"
EVENT: dict[str, Any] = {
    "eventVersion": "1.09",
    "userIdentity": {"type": "AssumedRole", "arn": "arn:aws:sts::123456789012:assumed-role/Editor/jane"},
    "eventTime": "2026-01-02T03:04:05Z",
    "eventSource": "medical-imaging.amazonaws.com",
    "eventName": UPDATE,
    "awsRegion": "us-east-1",
    "userAgent": "bulkedit/0.2.0 md/Botocore#1.40 lang/python#3.11.7",
    "requestParameters": {
        "datastoreId": "d" * 32,
        "imageSetId": IMAGE_SET,
        "latestVersionId": "3",
        "updateImageSetMetadataUpdates": {"DICOMUpdates": "CANARY^JANE"},
    },
    "requestID": "922f5304-b39f-4034-9d2e-f062de092a44",
    "eventID": "26307f73-07f4-4276-b379-d362aa303b22",
}
READ = TrailEvent(
    event_id=EVENT["eventID"],
    request_id=EVENT["requestID"],
    at=1767323045.0,
    name=UPDATE,
    region="us-east-1",
    principal="arn:aws:sts::123456789012:assumed-role/Editor/jane",
    by_bulkedit=True,
    datastore_id="d" * 32,
    image_set_id=IMAGE_SET,
    expected_version=3,
    error=None,
)


def read(path: Path, content: str | bytes) -> tuple[list[TrailEvent], EventCounts]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    counts = EventCounts()
    return list(events_of(path, counts)), counts


def changed(**fields: Any) -> dict[str, Any]:
    return {**EVENT, **fields}


class TestForms:
    @pytest.mark.parametrize(
        "content",
        [
            json.dumps({"Records": [EVENT]}),
            json.dumps({"Records": [EVENT]}, indent=2),
            gzip.compress(json.dumps({"Records": [EVENT]}).encode()),
            gzip.compress(b'{"Records":[') + gzip.compress(json.dumps(EVENT).encode() + b"]}"),
            json.dumps(EVENT) + "\n",
            "\ufeff" + json.dumps([EVENT]),
            json.dumps({"Events": [{"EventId": "x", "CloudTrailEvent": json.dumps(EVENT)}], "NextToken": "more"}),
            json.dumps({"NextToken": "more", "Events": [{"CloudTrailEvent": json.dumps(EVENT)}]}),
            json.dumps({"eventData": EVENT}) + "\n",
        ],
        ids=["log", "indented", "gzip", "gzip-members", "lines", "list", "looked-up", "token-first", "lake"],
    )
    def test_every_form_that_aws_gives_is_read(self, tmp_path: Path, content: str | bytes) -> None:
        events, counts = read(tmp_path / "log", content)
        assert events == [READ]
        assert (counts.files, counts.events, counts.strange) == (1, 1, 0)

    def test_events_of_other_services_and_digest_files_are_passed_over(self, tmp_path: Path) -> None:
        other = changed(eventSource="s3.amazonaws.com")
        lines = [other, {"digestS3Object": "x", "logFiles": []}, EVENT, other]
        events, counts = read(tmp_path / "log", "\n".join(map(json.dumps, lines)))
        assert (events, counts.events, counts.strange) == ([READ], 3, 0)

    def test_a_copy_names_its_source(self, tmp_path: Path) -> None:
        asked = {
            "sourceImageSetId": IMAGE_SET,
            "copyImageSetInformation": {"sourceImageSet": {"latestVersionId": "7"}},
        }
        ((event,), _) = read(tmp_path / "log", json.dumps(changed(eventName="CopyImageSet", requestParameters=asked)))
        assert (event.image_set_id, event.expected_version, event.datastore_id) == (IMAGE_SET, 7, None)

    @pytest.mark.parametrize("chunk", [1, 7, 64])
    def test_values_are_the_same_whatever_the_chunks(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
    ) -> None:
        monkeypatch.setattr(json_stream, "_CHUNK", chunk)
        values = [{"a": "é€𝄞"}, 12, -1.5, "x", None, [1, [2]], {}, 3]
        for text in (json.dumps({"Records": values, "more": {"b": [1]}}), "\n".join(map(json.dumps, values))):
            (tmp_path / "log").write_text(text, "utf-8")
            found = list(values_of(tmp_path / "log", frozenset({"Records"})))
            assert found == (values if "Records" in text else [*values[:5], 1, [2], *values[6:]])

    def test_a_number_may_go_on_in_the_next_chunk(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(json_stream, "_CHUNK", 7)
        values = [*range(1_000_000, 1_000_300)]
        (tmp_path / "log").write_text(json.dumps(values))
        assert list(values_of(tmp_path / "log", frozenset({"Records"}))) == values

    def test_no_more_is_read_than_a_value_may_have(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(json_stream, "VALUE_CHARACTERS", 1_000)
        monkeypatch.setattr(json_stream, "_CHUNK", 100)
        texts = iter(['"', *["x" * 100] * 1_000])
        with pytest.raises(UnreadableLogError, match="larger than any"):
            list(json_stream._JsonValues(texts, frozenset()).all())
        assert len(list(texts)) > 900

    def test_a_large_file_is_read_in_little_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(json_stream, "_CHUNK", 2**14)
        line = json.dumps(changed(eventSource="s3.amazonaws.com")).encode() + b",\n"
        content = b'{"Records": [' + line * 4_000 + json.dumps(EVENT).encode() + b"]}"
        (tmp_path / "log.gz").write_bytes(gzip.compress(content, 1))
        assert len(content) > 2 * 2**20
        tracemalloc.start()
        try:
            assert list(events_of(tmp_path / "log.gz", EventCounts())) == [READ]
            assert tracemalloc.get_traced_memory()[1] < 2**20
        finally:
            tracemalloc.stop()

    def test_folders_are_searched_for_logs_and_links_to_folders_are_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "logs/2026/01").mkdir(parents=True)
        names = ["b.json.gz", "a.json", "2026/01/c.jsonl", "notes.txt"]
        for name in names:
            (tmp_path / "logs" / name).touch()
        (tmp_path / "logs/2026/around").symlink_to(tmp_path / "logs")
        found = files_of([tmp_path / "logs", tmp_path / "logs/a.json"])
        assert sorted(str(path.relative_to(tmp_path / "logs")) for path in found) == sorted(names[:3])

    def test_what_is_not_there_or_has_no_log_is_a_usage_error(self, tmp_path: Path) -> None:
        for given in ([], [tmp_path], [tmp_path / "none"]):
            with pytest.raises(UsageError):
                files_of(given)


class TestHostile:
    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (b'{"Records": [', "cut short"),
            (b'{"Records": [{"a": 1}, {"b": ', "cut short"),
            (b'{"Records": []', "cut short"),
            (b'{"Records": [{"a": 1} oops]}', "not JSON"),
            (b'{"Records": [] "x" 1}', "not JSON"),
            (b"\xff\xfe{}", "not text in UTF-8"),
            (b"[" * 100_000, "not JSON"),
            (b'{"a":' * 100_000, "not JSON"),
            (b'{"Records": [{"a": ' + b"9" * 10_000 + b"}]}", "not JSON"),
            (gzip.compress(b'{"Records": []}')[:-9], "cut short"),
            (gzip.compress(b'{"Records": []}')[:-8] + b"x" * 8, "damaged"),
            (b"\x1f\x8bnot gzip at all", "damaged"),
            (b'{"Records": [{"a": "' + b"x" * 3_000_000 + b'"}]}', "larger than any"),
            (b'{"Records": [{"a": "' + b"x" * 3_000_000, "larger than any"),
        ],
        ids=[
            *("open", "cut", "unclosed", "oops", "no-colon", "utf-16", "lists", "nested", "digits", "gzip-cut"),
            *("gzip-crc", "no-gzip", "large", "large-and-cut"),
        ],
    )
    def test_a_file_that_cannot_be_read_is_told_without_its_content(
        self, tmp_path: Path, content: bytes, problem: str
    ) -> None:
        with pytest.raises(UnreadableLogError, match=problem) as raised:
            read(tmp_path / "log", content)
        assert "oops" not in str(raised.value)

    def test_a_file_that_unpacks_to_far_too_much_is_left(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(json_stream, "_UNPACKED_AT_LEAST", 2**20)
        with pytest.raises(UnreadableLogError, match="far more than a log"):
            read(tmp_path / "log", gzip.compress(b'{"Records": [' + b" " * 2**22))

    @pytest.mark.parametrize(
        "change",
        [
            {"eventTime": "never"},
            {"eventTime": 5},
            {"eventTime": "0001-01-01T00:00:00+23:00"},
            {"eventSource": None},
        ],
        ids=str,
    )
    def test_a_value_that_is_no_event_is_counted(self, tmp_path: Path, change: dict[str, Any]) -> None:
        lines = [changed(**change), 5, None, [[]], "x", {"eventData": 3}, {"CloudTrailEvent": "{"}]
        events, counts = read(tmp_path / "log", "\n".join(map(json.dumps, lines)))
        assert (events, counts.events, counts.strange) == ([], 0, len(lines))

    @pytest.mark.parametrize(
        "change",
        [
            {"userIdentity": "x", "requestParameters": [1], "userAgent": 5, "eventName": None, "awsRegion": {}},
            {"requestParameters": {"imageSetId": {"a": 1}, "latestVersionId": [], "datastoreId": 7}},
            {"requestParameters": {"imageSetId": "CANARY^JANE", "latestVersionId": "CANARY^JANE"}},
            {"requestID": "\u2028" * 10, "eventID": ["x"], "errorCode": "\ud800"},
            {"userIdentity": {"arn": "an arn with blanks", "accountId": 5}},
            {"requestID": "x" * 129, "eventName": "x" * 301},
        ],
        ids=["types", "ids", "values", "texts", "arn", "long"],
    )
    def test_a_field_of_the_wrong_shape_is_unknown(self, tmp_path: Path, change: dict[str, Any]) -> None:
        ((event,), _) = read(tmp_path / "log", json.dumps(changed(**change)))
        texts = repr(event)
        assert "CANARY" not in texts
        assert texts.isascii()
        assert [text for text in ("blanks", "xxx", "d800") if text in texts] == []

    def test_no_value_is_kept(self, tmp_path: Path) -> None:
        texts = {"errorMessage": "CANARY^JANE", "responseElements": {"message": "CANARY^JANE"}}
        ((event,), _) = read(tmp_path / "log", json.dumps(changed(**texts)))
        assert "CANARY" not in repr(event)


# -- comparing


def sent(*writes: tuple[int, str | None, str], state: str = "applied", version: int | None = 2) -> SentByRun:
    """What a run has sent to image sets at version 1: number of the call, request id and result, at 1,000 s."""
    calls = sorted({call for call, *_ in writes} | {0})
    ids = {call: f"{call:032}" for call in calls}
    return SentByRun(
        writes=pl.DataFrame(
            [(1_000.0, call, ids[call], UPDATE, request_id, result) for call, request_id, result in writes],
            schema={
                "at": pl.Float64,
                "call": pl.UInt32,
                **dict.fromkeys(("image_set_id", "operation", "request_id", "result"), pl.String),
            },
            orient="row",
        ).with_row_index("number"),
        read_ids=pl.DataFrame({"request_id": ["a read"]}),
        intents=pl.DataFrame(
            [(call, 999.0, 1, ids[call], UPDATE) for call in calls],
            schema={
                "call": pl.UInt32,
                "begun": pl.Float64,
                "expected_version": pl.UInt32,
                "image_set_id": pl.String,
                "operation": pl.String,
            },
            orient="row",
        ),
        states=pl.DataFrame(
            [(call, state, version) for call in calls],
            schema={"call": pl.UInt32, "state": pl.String, "version": pl.UInt32},
            orient="row",
        ),
        image_sets=pl.DataFrame({"image_set_id": list(ids.values())}),
    )


def event(call: int = 0, request_id: str | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "event_id": f"event of {request_id}",
        "request_id": request_id,
        "at": 1_000.0,
        "name": UPDATE,
        "region": "us-east-1",
        "principal": "me",
        "by_bulkedit": True,
        "image_set_id": f"{call:032}",
        "expected_version": 1,
        "error": None,
        **fields,
    }


def findings(run: SentByRun, *events: dict[str, Any]) -> list[tuple[str, bool]]:
    return list(comparison(run, *events).rows.select("finding", "even").iter_rows())


def comparison(run: SentByRun, *events: dict[str, Any]) -> Comparison:
    return compared(run, pl.LazyFrame(list(events), schema=EVENTS))


LOST = "lost: ReadTimeoutError"


class TestCompared:
    @pytest.mark.parametrize(
        ("write", "seen", "finding", "even"),
        [
            ("accepted", [{}], Finding.FOUND, True),
            ("accepted", [], Finding.NOT_FOUND, False),
            ("accepted", [{}, {"event_id": "another"}], Finding.MORE_THAN_ONCE, False),
            ("accepted", [{}, {}], Finding.FOUND, True),
            ("accepted", [{"error": "ConflictException"}], Finding.CONTRADICTED, False),
            ("ConflictException", [{"error": "ConflictException"}], Finding.FOUND, True),
            ("ConflictException", [{}], Finding.CONTRADICTED, False),
            ("ThrottlingException", [], Finding.REFUSED_NOT_FOUND, True),
            (LOST, [{}], Finding.LOST_ACCEPTED, True),
            (LOST, [{"error": "ThrottlingException"}], Finding.LOST_REFUSED, True),
            (LOST, [{"error": "ServiceUnavailable"}], Finding.FOUND, True),
        ],
    )
    def test_a_request_is_found_by_its_id(
        self, write: str, seen: list[dict[str, Any]], finding: Finding, even: bool
    ) -> None:
        events = [event(request_id="x", **fields) for fields in seen]
        state = "applied" if write in {"accepted", LOST} else "rejected"
        assert findings(sent((0, "x", write), state=state), *events) == [(finding, even)]

    @pytest.mark.parametrize(
        ("fields", "inferred"),
        [
            ({}, True),
            ({"expected_version": None}, True),
            ({"at": 1_500.0}, True),
            ({"expected_version": 2}, False),
            ({"name": "DeleteImageSet"}, False),
            ({"at": 1_601.0}, False),
            ({"at": 600.0}, False),
            ({"by_bulkedit": False}, False),
            ({"principal": "another"}, False),
        ],
        ids=str,
    )
    def test_a_lost_request_is_inferred_only_if_everything_fits(self, fields: dict[str, Any], inferred: bool) -> None:
        mine = event(1, "known")
        run = sent((0, None, LOST), (1, "known", "accepted"), state="outcome unknown")
        rows = comparison(run, mine, event(0, "unknown", **fields)).rows
        found = rows.filter(pl.col("call") == 0).select("finding", "found_by").row(0)
        assert found == (("lost, accepted", "inference") if inferred else ("lost, not found", None))

    def test_each_event_answers_for_one_request(self) -> None:
        run = sent((0, None, LOST), (0, None, LOST), state="applied")
        assert sorted(findings(run, event(0, "unknown"))) == [("lost, accepted", True), ("lost, not found", True)]

    def test_an_effect_that_no_accepted_event_explains_is_a_difference(self) -> None:
        assert findings(sent((0, None, LOST))) == [(Finding.NOT_FOUND, False)]
        assert findings(sent((0, None, LOST), version=None)) == [(Finding.LOST_NOT_FOUND, True)]

    def test_a_lost_request_that_was_accepted_contradicts_a_conflict(self) -> None:
        run = sent((0, None, LOST), state="conflicted")
        assert findings(run, event(0, "unknown")) == [(Finding.LOST_ACCEPTED, False)]

    def test_a_request_of_a_killed_process_is_inferred_from_its_intent(self) -> None:
        """The ledger has the intent, or throttled requests only."""
        for writes in ((), ((0, "x", "ThrottlingException"),), ((0, "x", "SlowDown"),)):
            found = findings(sent(*writes), event(0, "unknown"))
            assert ("lost, accepted", True) in found
            assert ("another writer", False) not in found

    def test_requests_without_an_answer_are_not_invented(self) -> None:
        assert findings(sent()) == []

    @pytest.mark.parametrize("request_id", ["not ours", None])
    def test_the_writes_of_others_during_the_run_are_named(self, request_id: str | None) -> None:
        accepted = event(0, request_id, principal="Jane", by_bulkedit=False)
        assert findings(sent((0, "x", "accepted")), event(0, "x"), accepted) == [
            (Finding.FOUND, True),
            (Finding.OTHER, False),
        ]
        refused = {**accepted, "error": "ConflictException"}
        assert (Finding.OTHER, True) in findings(sent((0, "x", "accepted")), event(0, "x"), refused)

    def test_others_elsewhere_or_at_another_time_are_no_matter(self) -> None:
        run = sent((0, "x", "accepted"))
        elsewhere = event(7, "y", by_bulkedit=False)
        earlier, later = (event(0, f"at {at}", at=at) for at in (600.0, 1_700.0))
        assert findings(run, event(0, "x"), elsewhere, earlier, later) == [(Finding.FOUND, True)]

    def test_reads_are_counted_by_who_but_not_those_of_the_run(self) -> None:
        reads = [event(0, one, name="GetImageSet", principal="Jane") for one in ("a read", "b", "c")]
        found = comparison(sent((0, "x", "accepted")), event(0, "x"), *reads)
        assert found.readers.rows() == [("Jane", "GetImageSet", 2)]
        assert found.rows.get_column("even").all()

    def test_one_event_in_several_files_counts_once(self) -> None:
        write = event(0, "y", by_bulkedit=False)
        read = event(0, "z", name="GetImageSet", principal="Jane")
        found = comparison(sent((0, "x", "accepted")), event(0, "x"), *[write, read] * 3)
        assert found.rows.get_column("finding").to_list() == [Finding.FOUND, Finding.OTHER]
        assert found.readers.rows() == [("Jane", "GetImageSet", 1)]

    def test_an_event_long_before_its_intent_is_not_taken(self) -> None:
        run = sent((0, None, LOST), (1, "known", "accepted"), state="outcome unknown")
        early = pl.when(pl.col("call") == 1).then(0.0).otherwise("begun")
        run = replace(run, intents=run.intents.with_columns(begun=early))
        assert (Finding.LOST_NOT_FOUND, True) in findings(run, event(1, "known"), event(0, "unknown", at=600.0))

    def test_writes_that_name_no_image_set_are_counted(self) -> None:
        hidden = event(0, "y", image_set_id=None)
        assert comparison(sent((0, "x", "accepted")), event(0, "x"), hidden).hidden == 1
