"""Records: their fields hold no value, and what cannot be written stops nothing."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import resource
import stat
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit import _log
from bulkedit.errors import ReceivedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CANARY = "Doe^John"
EXAMPLES: dict[str, Any] = {
    "image_set_id": "0" * 32,
    "request_id": "e3e7af8e-cd87-4ea5-9751-c055acf02b75",
    "operation": "GetImageSet",
    "command": "apply",
    "version": "0.1.0",
    "python": "3.11.7",
    "code": "HTTP 503 without an error type",
    "reason": "given up after repeated: read lost",
    "plan": "fa150227b0e9a3d2",
    "error": "KeyError",
    "traceback": ["KeyError", "  bulkedit/runs/engine.py:12 in _perform", "caused by OSError", "  …"],
}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


@contextmanager
def log_file(path: Path, level: int = logging.DEBUG, **bounds: int) -> Iterator[_log.LogFile]:
    handler = _log.LogFile(path, **bounds)
    handler.setLevel(level)
    with _log.written_to(handler):
        yield handler


def written(path: Path, **fields: Any) -> dict[str, Any]:
    with log_file(path):
        _log.log("test.done", **fields)
    return lines(path)[-1]


# -- what is written


def test_every_text_has_a_form() -> None:
    texts = {name for name, kind in _log.Fields.__annotations__.items() if "str" in kind.__forward_arg__}
    assert texts == _log._FORMS.keys() == EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_text_is_written_in_its_form_only(tmp_path: Path, name: str) -> None:
    assert written(tmp_path / "l", **{name: EXAMPLES[name]})[name] == EXAMPLES[name]
    bad = ["  " + CANARY, CANARY] if name == "traceback" else CANARY
    hidden = ["…", "…"] if name == "traceback" else "…"
    assert written(tmp_path / "l", **{name: bad})[name] == hidden
    assert CANARY not in (tmp_path / "l").read_text("utf-8")


@pytest.mark.parametrize("name", sorted(_log._NUMBERS))
def test_a_number_is_a_number(tmp_path: Path, name: str) -> None:
    assert written(tmp_path / "l", **{name: 7})[name] == 7
    assert written(tmp_path / "l", **{name: "19700101"})[name] == "…"


def test_a_field_that_is_not_listed_is_not_written(tmp_path: Path) -> None:
    assert written(tmp_path / "l", patient=CANARY).keys() == {"time", "level", "action"}


def test_a_line_has_its_time_in_utc_its_level_and_its_action(tmp_path: Path) -> None:
    line = written(tmp_path / "l", call=3)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
    assert {**line, "time": ""} == {"time": "", "level": "INFO", "action": "test.done", "call": 3}
    assert _log.utc(0.0415, milliseconds=True) == "1970-01-01T00:00:00.041Z"
    assert _log.utc(86_399.9) == "1970-01-01 23:59:59Z"


def test_what_others_log_is_not_written(tmp_path: Path) -> None:
    with log_file(tmp_path / "l"):
        for name in ("", "botocore.endpoint", "urllib3", "bulkedit", "bulkedit.emulator"):
            logging.getLogger(name).critical("%s", CANARY)
        logging.getLogger("bulkedit.log").critical("%s", CANARY)
    assert [line.keys() for line in lines(tmp_path / "l")] == [{"time", "level", "action"}]
    assert CANARY not in (tmp_path / "l").read_text("utf-8")


def test_fields_of_a_block_are_in_all_of_its_records(tmp_path: Path) -> None:
    with log_file(tmp_path / "l"):
        with _log.bound(call=1, attempt=2):
            _log.log("a", attempt=3)
        _log.log("b")
    assert [(line.get("call"), line.get("attempt")) for line in lines(tmp_path / "l")] == [(1, 3), (None, None)]


# -- who gets it


class Kept(logging.Handler):
    """Keeps the texts of records."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


@pytest.fixture
def program() -> Iterator[Kept]:
    """What the handler of a program that imports bulkedit gets; caplog listens to our logger by itself."""
    kept, logger = Kept(), logging.getLogger("bulkedit")
    logger.addHandler(kept)
    yield kept
    logger.removeHandler(kept)


def test_a_program_gets_the_levels_it_asks_for(program: Kept, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with log_file(tmp_path / "l"):
        _log.log("a")  # the root logger is set to warnings
        with caplog.at_level(logging.INFO, "bulkedit"):
            _log.log("b", call=1)
            _log.log("c", logging.DEBUG)
    assert program.texts == ["b  call=1"]
    assert [line["action"] for line in lines(tmp_path / "l")] == ["a", "b", "c"]


async def test_runs_side_by_side_have_logs_of_their_own(tmp_path: Path) -> None:
    async def run(name: str) -> None:
        (tmp_path / name).mkdir()
        with _log.run_log(tmp_path / name):
            await asyncio.sleep(0)
            await asyncio.create_task(child(name))
            await asyncio.to_thread(_log.log, f"{name}.thread")

    async def child(name: str) -> None:
        _log.log(f"{name}.task")

    await asyncio.gather(run("a"), run("b"))
    _log.log("outside")
    for name in "ab":
        assert {line["action"] for line in lines(tmp_path / name / "run.log")} == {f"{name}.task", f"{name}.thread"}


def test_what_goes_well_is_in_the_log_of_a_run_if_it_is_asked_for(tmp_path: Path) -> None:
    for folder, level in (("a", logging.INFO), ("b", logging.DEBUG)):
        (tmp_path / folder).mkdir()
        with _log.detailed(level), _log.run_log(tmp_path / folder):
            _log.log("read.answered", logging.DEBUG)
    assert (len(lines(tmp_path / "a/run.log")), len(lines(tmp_path / "b/run.log"))) == (0, 1)


# -- files


def test_a_log_is_private_and_appended_to(tmp_path: Path) -> None:
    for _ in range(2):
        written(tmp_path / "l")
    assert stat.S_IMODE((tmp_path / "l").stat().st_mode) == 0o600
    assert len(lines(tmp_path / "l")) == 2


def test_a_full_file_is_put_aside_and_the_oldest_dropped(tmp_path: Path) -> None:
    with log_file(tmp_path / "l", at_most=200, kept=2):
        for number in range(20):
            _log.log("test.done", call=number)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["l", "l.1", "l.2"]
    kept = [line["call"] for name in ("l.2", "l.1", "l") for line in lines(tmp_path / name)]
    assert kept == list(range(kept[0], 20))
    assert kept[0] > 0
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}


def _link(path: Path) -> None:
    path.symlink_to(path.with_name("elsewhere"))


def _hard_link(path: Path) -> None:
    path.with_name("elsewhere").write_bytes(b"")
    path.hardlink_to(path.with_name("elsewhere"))


@pytest.mark.parametrize("odd", [_link, _hard_link, os.mkfifo, os.mkdir], ids=["link", "hard link", "pipe", "folder"])
def test_a_log_that_is_something_odd_is_refused(tmp_path: Path, odd: Callable[[Path], None]) -> None:
    odd(tmp_path / "run.log")
    with pytest.raises(ReceivedError), _log.run_log(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists() or (tmp_path / "elsewhere").read_bytes() == b""


def test_a_full_disk_is_told_once_and_stops_nothing(tmp_path: Path, program: Kept) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, hard))
    try:
        with log_file(tmp_path / "l"):
            for _ in range(200):
                _log.log("test.done")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert program.texts == [f"The log cannot be written (File too large); continuing without it: {tmp_path}/l"]
    assert (tmp_path / "l").stat().st_size <= 300


def test_a_log_that_cannot_be_opened_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    done = []
    with _log.run_log(tmp_path / "gone"):
        done.append(True)
    assert done
    assert "(No such file or directory); continuing without it" in caplog.text


def test_a_disk_that_hangs_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_log, "_WAITING", 3)
    handler = _log.LogFile(tmp_path / "l")
    with _log.written_to(handler):
        handler.acquire()  # as the thread that writes waits for the disk
        for number in range(20):
            _log.log("test.done", call=number)
        handler.release()
    *some, last = lines(tmp_path / "l")
    assert last["action"] == "log.gap"
    assert last["left_out"] + len(some) == 20
    assert last["left_out"] > 10


# -- defects


class Patient(Exception):  # noqa: N818 - a name like any
    pass


def _fail(value: str) -> None:
    try:
        dict[str, str]()[value]
    except KeyError as error:
        raise Patient(value) from error


def test_a_traceback_has_neither_texts_nor_values() -> None:
    with pytest.raises(Patient) as caught:
        _fail(CANARY)
    group = ExceptionGroup(CANARY, [caught.value])
    found = _log.trace(group)
    assert [line for line in found if not line.startswith(" ")] == [
        "ExceptionGroup",
        "one of it Patient",
        "caused by KeyError",
    ]
    assert CANARY not in "\n".join(found)


def test_a_traceback_names_places_of_ours_and_of_libraries_only() -> None:
    with pytest.raises(UsageError) as caught:
        raise_deep()
    kinds = {line.partition("/")[0] for line in _log.trace(caught.value) if line.startswith(" ")}
    assert kinds == {"  …", "  bulkedit"}
    with pytest.raises(json.JSONDecodeError) as other:
        json.loads("{" + CANARY)
    assert any(re.fullmatch(r"  json/decoder.py:\d+ in decode", line) for line in _log.trace(other.value))


def raise_deep() -> None:
    from bulkedit.client.destination import check_endpoint

    check_endpoint("ftp://x", None, allow_http=False)


def test_an_exception_that_leads_back_to_itself_ends() -> None:
    one, other = KeyError(), ValueError()
    one.__cause__, other.__cause__ = other, one
    assert _log.trace(one) == ["KeyError", "caused by ValueError"]


def test_a_defect_leaves_its_traceback_in_the_log_of_its_run_once(tmp_path: Path) -> None:
    with suppress(KeyError), _log.run_log(tmp_path):
        raise KeyError(CANARY)
    error = KeyError(CANARY)
    for _ in range(2):  # as it goes up through several blocks
        with suppress(KeyError), _log.run_log(tmp_path):
            raise error
    (first, second) = lines(tmp_path / "run.log")
    assert first["traceback"][0] == second["error"] == "KeyError"
    assert CANARY not in (tmp_path / "run.log").read_text("utf-8")


def test_an_error_of_the_user_leaves_no_traceback(tmp_path: Path) -> None:
    with suppress(UsageError), _log.run_log(tmp_path):
        raise UsageError("no such option")
    assert lines(tmp_path / "run.log") == []
