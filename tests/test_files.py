"""Files appear whole or not at all, and for their owner's eyes."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from bulkedit._files import (
    Holder,
    draft_file,
    draft_folder,
    drafts_in,
    open_private,
    remove_leftover,
    sha256_of,
    write_private_json,
)
from bulkedit._received import require_folder
from bulkedit.errors import ReceivedError

if TYPE_CHECKING:
    from pathlib import Path


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_json_is_private_and_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "about.json"
    for content in ({"a": 1}, {"a": "ü"}):
        write_private_json(path, content)
        assert (json.loads(path.read_bytes()), mode(path)) == (content, 0o600)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("folder", [False, True], ids=["file", "folder"])
def test_of_a_draft_that_fails_nothing_stays(tmp_path: Path, folder: bool) -> None:
    target = tmp_path / "target"

    def fail() -> None:
        with draft_folder(target) if folder else draft_file(target):
            assert drafts_in(tmp_path)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_draft_replaces_nothing_unless_it_may(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    with pytest.raises(FileExistsError), draft_file(target) as file:
        file.write(b"new")
    assert target.read_bytes() == b"old"
    with draft_file(target, replace=True) as file:
        file.write(b"new")
    assert target.read_bytes() == b"new"


def test_the_digest_is_that_of_sha256sum(tmp_path: Path) -> None:
    with open_private(path := tmp_path / "file") as file:
        file.write(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_what_is_no_draft_of_ours_is_left_alone(tmp_path: Path) -> None:
    assert remove_leftover(tmp_path / "none") is Holder.UNKNOWN
    (tmp_path / "link").symlink_to(tmp_path)
    assert remove_leftover(tmp_path / "link") is Holder.UNKNOWN
    assert (tmp_path / "link").is_symlink()


def test_a_draft_that_was_renamed_meanwhile_is_left_to_its_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "draft").touch()
    monkeypatch.setattr("bulkedit._files._is_same", lambda *_: False)
    assert remove_leftover(tmp_path / "draft") is Holder.OTHER
    assert (tmp_path / "draft").exists()


def test_a_draft_that_cannot_be_removed_or_locked_has_an_unknown_holder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError

    (tmp_path / "draft").mkdir()
    with monkeypatch.context() as patched:
        patched.setattr("shutil.rmtree", refused)
        assert remove_leftover(tmp_path / "draft") is Holder.UNKNOWN
    monkeypatch.setattr("bulkedit._files.lock", refused)
    assert remove_leftover(tmp_path / "draft") is Holder.UNKNOWN


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan").touch()
    with pytest.raises(ReceivedError, match="not a folder"):
        require_folder(tmp_path / "plan")
