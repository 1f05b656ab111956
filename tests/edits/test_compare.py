"""What the edits of a run should have left in a document, one rule a test."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from bulkedit.edits.compare import (
    Difference,
    difference,
    expected_changes,
    keeps_former,
    misplaced,
    old_name_stays,
    value_in,
)
from bulkedit.edits.edit import STORED_VALUE, json_text
from bulkedit.options.verify import Sample, parse_sample
from tests.emulator.hospital import document

SERIES, INSTANCE = "1.2.3.1", "1.2.3.1.1"


def change(action: str = "set", attribute: str | None = None, value: Any = None, **fields: Any) -> Any:
    level = fields.pop("level", "Study")
    text = value if action == "remove" and value in {None, STORED_VALUE} else json_text(value)
    named = {"series_uid": None, "instance_uid": None, "vr": None, "revert_to": None, **fields}
    return {"action": action, "attribute": attribute, "value": text, "level": level, **named}


def in_instance(action: str, attribute: str | None = None, value: Any = None, **fields: Any) -> Any:
    place = {"level": "Instance", "series_uid": SERIES, "instance_uid": INSTANCE}
    return change(action, attribute, value, **{**place, **fields})


def stored(**study: Any) -> dict[str, Any]:
    return document(**study)


SHOWN = "PatientName"
ROWS = [
    ("what was set is there", change("set", "StudyDescription", "CHEST"), None),
    ("it has another value", change("set", "StudyDescription", "HEAD"), Difference.VALUE),
    ("padding is no difference", change("set", "StudyDescription", "CHEST "), None),
    ("it is not there", change("set", "StudyComments", "X"), Difference.ABSENT),
    ("a patient's attribute is in Patient", change("set", "PatientID", "P1", level="Patient"), None),
    ("a list is a value", change("set", "OtherPatientNames", ["DOE^J"], level="Patient"), None),
    ("what was removed is not there", change("remove", "StudyComments", STORED_VALUE), None),
    ("it is", change("remove", "StudyDescription", STORED_VALUE), Difference.PRESENT),
    ("an attribute of a series", change("set", "Modality", "CT", level="Series", series_uid=SERIES), None),
    ("an attribute of an instance", in_instance("set", "KVP", "120 "), None),
    ("a private element with its VR", in_instance("set", "00091001", "GENESIS", vr="LO"), None),
    ("with another VR", in_instance("set", "00091001", "GENESIS", vr="SH"), Difference.VR),
    ("its instance is gone", in_instance("set", "KVP", "1", instance_uid="9.9"), Difference.PLACE),
    ("its series is gone", change("set", "Modality", "CT", level="Series", series_uid="9"), Difference.PLACE),
    ("an instance that was removed is gone", in_instance("remove-instance", instance_uid="9.9"), None),
    ("an instance that was removed is there", in_instance("remove-instance"), Difference.PRESENT),
    ("a removal in no such instance", in_instance("remove", "KVP", STORED_VALUE, instance_uid="9"), Difference.PLACE),
    (
        "a removal in no such series",
        change("remove", "Modality", STORED_VALUE, level="Series", series_uid="9"),
        Difference.PLACE,
    ),
]


@pytest.mark.parametrize(("edit", "expected"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_an_edit_is_held_against_the_document(edit: Any, expected: Difference | None) -> None:
    (one,) = expected_changes([edit])
    assert difference(one, stored()) == expected


def test_a_revert_is_held_against_the_version_that_it_went_back_to() -> None:
    (one,) = expected_changes([change("revert", None, None, level=None, revert_to=1)])
    other = copy.deepcopy(stored())
    assert difference(one, stored(), other) is None
    other["Patient"]["DICOM"]["PatientName"] = "X"
    assert difference(one, stored(), other) is Difference.CONTENT
    assert difference(one, stored(), None) is Difference.CONTENT


CHAINS = [
    ("a later set of the same attribute", change("set", "StudyDescription", "B"), True),
    ("a later removal of it", change("remove", "StudyDescription", STORED_VALUE), True),
    ("another attribute", change("set", "StudyDate", "20240101"), False),
    ("the same attribute of a series", change("set", "StudyDescription", "B", level="Series", series_uid="1"), False),
    ("a revert", change("revert", None, None, level=None, revert_to=1), True),
]


@pytest.mark.parametrize(("later", "superseded"), [row[1:] for row in CHAINS], ids=[row[0] for row in CHAINS])
def test_a_later_edit_of_the_run_supersedes(later: dict[str, Any], superseded: bool) -> None:
    first, last = expected_changes([change("set", "StudyDescription", "A"), later])
    assert (first.superseded, last.superseded) == (superseded, False)


def test_a_removal_supersedes_what_is_inside_it() -> None:
    edits = [
        in_instance("set", "KVP", "1"),
        in_instance("set", "KVP", "1", instance_uid="1.2.3.1.2"),
        in_instance("remove-instance"),
        change("remove-series", level="Series", series_uid=SERIES),
    ]
    assert [one.superseded for one in expected_changes(edits[:3])] == [True, False, False]
    assert [one.superseded for one in expected_changes(edits)] == [True, True, True, False]


def test_an_edit_before_a_removal_only_is_superseded() -> None:
    """A series that came back by a revert can be edited again."""
    edits = [change("revert", None, None, level=None, revert_to=1), in_instance("set", "KVP", "1")]
    revert, last = expected_changes(edits)
    assert (revert.superseded, revert.followed, last.superseded) == (False, True, False)


def test_edits_are_looked_for_under_the_uid_that_the_run_has_given() -> None:
    rename = change("set", "SeriesInstanceUID", "7.7", level="Series", series_uid=SERIES)
    edits = expected_changes(
        [in_instance("set", "KVP", "120 "), rename, in_instance("set", "InstanceNumber", "1", series_uid="7.7")]
    )
    moved = stored()
    series = moved["Study"]["Series"].pop(SERIES)
    series["DICOM"]["SeriesInstanceUID"] = "7.7"
    moved["Study"]["Series"]["7.7"] = series
    assert [difference(one, moved) for one in edits] == [None, None, None]
    series["Instances"][INSTANCE]["DICOM"]["KVP"] = "80"
    assert [difference(one, moved) for one in edits] == [Difference.VALUE, None, None]


def test_a_service_that_leaves_the_paths_where_they_were_is_understood_too() -> None:
    edits = expected_changes(
        [
            in_instance("set", "KVP", "120 "),
            change("set", "SeriesInstanceUID", "7.7", level="Series", series_uid=SERIES),
        ]
    )
    left = stored()
    left["Study"]["Series"][SERIES]["DICOM"]["SeriesInstanceUID"] = "7.7"
    assert [difference(one, left) for one in edits] == [None, None]


def test_a_removal_whose_series_gets_another_uid_in_the_same_call_is_found_there() -> None:
    rename = change("set", "SeriesInstanceUID", "7.7", level="Series", series_uid=SERIES)
    removal = change("remove", "StationName", STORED_VALUE, level="Series", series_uid=SERIES)
    moved = stored()
    moved["Study"]["Series"]["7.7"] = moved["Study"]["Series"].pop(SERIES)
    moved["Study"]["Series"]["7.7"]["DICOM"]["SeriesInstanceUID"] = "7.7"
    for edits in ([rename, removal], [removal, rename]):
        assert [difference(one, moved) for one in expected_changes(edits)] == [None, None]
    moved["Study"]["Series"]["7.7"]["DICOM"]["StationName"] = "CT1"
    assert difference(expected_changes([rename, removal])[1], moved) is Difference.PRESENT


def test_a_removal_inside_what_the_run_removes_later_is_superseded() -> None:
    first, last = expected_changes([in_instance("remove", "KVP", STORED_VALUE), in_instance("remove-instance")])
    gone = stored()
    del gone["Study"]["Series"][SERIES]["Instances"][INSTANCE]
    assert (first.superseded, difference(last, gone)) == (True, None)


FORMER = [
    ("another value", change("set", "StudyDescription", "NEW"), True),
    ("the value that is set", change("set", "StudyDescription", "CHEST"), False),
    ("no value", change("set", "StudyComments", "NEW"), False),
    ("what is removed", change("remove", "StudyDescription", STORED_VALUE), True),
    ("another value than is removed", change("remove", "StudyDescription", "OTHER"), False),
    ("an instance that is removed", in_instance("remove-instance"), True),
    ("an instance that never was", in_instance("remove-instance", instance_uid="9"), False),
]


@pytest.mark.parametrize(("edit", "expected"), [row[1:] for row in FORMER], ids=[row[0] for row in FORMER])
def test_an_older_version_keeps(edit: Any, expected: bool) -> None:
    (one,) = expected_changes([edit])
    assert keeps_former(one, stored()) is expected


@pytest.mark.parametrize("empty", [None, "", []])
def test_an_empty_attribute_keeps_nothing(empty: Any) -> None:
    (one,) = expected_changes([change("set", "StudyDescription", "NEW")])
    assert not keeps_former(one, stored(StudyDescription=empty))


def test_the_value_that_is_there_is_json() -> None:
    (one,) = expected_changes([change("set", "StudyDescription", "NEW")])
    assert value_in(one, stored()) == '"CHEST"'


def test_without_its_place_an_edit_has_no_value_there() -> None:
    edits = [in_instance("set", "KVP", "1", instance_uid="9"), in_instance("remove-instance")]
    assert [value_in(one, stored()) for one in expected_changes(edits)] == [None, None]


def test_the_uid_that_an_instance_had_stays_until_the_service_moves_it() -> None:
    (one,) = expected_changes([in_instance("set", "SOPInstanceUID", "7.7")])
    moved = stored()
    instances = moved["Study"]["Series"][SERIES]["Instances"]
    assert old_name_stays(one, moved)
    instances["7.7"] = instances.pop(INSTANCE)
    assert not old_name_stays(one, moved)


def test_beside_a_revert_no_place_is_missed() -> None:
    lost = in_instance("set", "KVP", "1", instance_uid="9", series_uid="9")
    assert misplaced([lost], stored()) == ["series"]
    assert misplaced([change("revert", level=None, revert_to=1), lost], stored()) == [None, None]


class TestSample:
    IDS = tuple(f"{number:032}" for number in range(1000))

    @pytest.mark.parametrize(("text", "count"), [("1%", 10), ("0.05%", 1), ("100%", 1000), ("7", 7), ("5000", 1000)])
    def test_it_is_of_the_size_that_was_asked_for(self, text: str, count: int) -> None:
        assert len(parse_sample(text).of(self.IDS, 1)) == count

    def test_one_seed_draws_one_sample(self) -> None:
        sample = Sample(number=20)
        assert sample.of(self.IDS, 4) == sample.of(self.IDS[::-1], 4)
        assert sample.of(self.IDS, 4) != sample.of(self.IDS, 5)

    def test_a_larger_sample_of_a_seed_holds_the_smaller(self) -> None:
        assert Sample(number=20).of(self.IDS, 4) < Sample(share=0.05).of(self.IDS, 4)

    @pytest.mark.parametrize("text", ["0", "0%", "101%", "1.5", "-1", "x", "", "1 %%"])
    def test_what_is_no_sample_is_refused(self, text: str) -> None:
        from bulkedit.errors import UsageError

        with pytest.raises(UsageError, match="sample"):
            parse_sample(text)
