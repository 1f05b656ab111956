"""A cell that should be an id or a UID: what it is, and what to type, without its text."""

from __future__ import annotations

import pytest

from tests.edits.lists import A, B, read_rows, texts_of

IDS = {
    "arn:aws:medical-imaging:eu-west-1:123456789012:datastore/x/imageset/y": ("is an ARN", "Write the id alone."),
    "https://example.org/x": ("is an address", "Write the id alone."),
    "1.2.840.113619.2.1": ("is a UID, not an id of an image set.", "`map=study_instance_uid=image_set_id`"),
    "0012345": ("is a number of 7 digits", "`map=patient_id=image_set_id`"),
    "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9": ("has dashes, as a UUID", "inventory"),
    "11111111-22222222-33333333-44444444-55555555": ("has dashes, as a UUID", "inventory"),
    f"{A}; {B}": ("has several ids.", "Write one row for each image set."),
    A.upper(): ("has capital letters", "Copy the id"),
    A[1:]: ("has 31 characters", "as text"),
    "x" * 31 + "é": ("has a character that is not in 0-9 a-z", "Copy the id"),
    "abc": ("has 3 characters; ids are 32 characters of 0-9 a-z.", "Copy the id"),
}
UIDS = {
    A: ("is an id of an image set, not a UID.", "image_set_id"),
    "urn:oid:1.2.840.1": ("begins with a word.", "digits and dots"),
    "1,2,840,10008": ("has commas.", "dots"),
    "1.2.840.1 1.2.840.2": ("has several UIDs.", "one row for each"),
    "ACC0017": ("is a word or an id of another kind", "such as 1.2.840"),
    "1.2.x": ("is not a UID.", "such as 1.2.840"),
}


@pytest.mark.parametrize("text", IDS)
def test_what_is_no_id_is_said_with_what_to_type(text: str) -> None:
    done = read_rows({"image_set_id": A, "PatientName": "x"}, {"image_set_id": text, "PatientName": "x"})
    what, hint = IDS[text]
    assert done.set_aside.select("row", "code").rows() == [(3, "image-set-id")]
    assert done.set_aside["problem"].item().startswith(f"image_set_id {what}")
    assert hint in done.set_aside["hint"].item()
    assert text not in texts_of(done)


@pytest.mark.parametrize("text", UIDS)
def test_what_is_no_uid_is_said_with_what_to_type(text: str) -> None:
    done = read_rows({"study_instance_uid": text, "PatientName": "x"})
    what, hint = UIDS[text]
    assert done.set_aside.select("row", "code").rows() == [(2, "uid")]
    assert done.set_aside["problem"].item() == f"study_instance_uid {what}" or what in done.set_aside["problem"].item()
    assert hint in done.set_aside["hint"].item()
    assert text not in texts_of(done)
