"""Drafts hold values. A kill leaves one, the next start or `bulkedit clean` removes it, a failed start leaves none."""

from __future__ import annotations

import json
import os
import signal
import stat
import textwrap
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit import plans
from bulkedit._files import Holder, draft_file, draft_folder, drafts_under, remove_leftover, write_private_json
from bulkedit.errors import EXIT_FATAL, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from tests.cli.shell import PATIENT_S, wait_for
from tests.emulator.hospital import document

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.shell import Shell

CANARY = "RIVERA^CANARY"
# the command, with a signal to itself (or a wait for a file) when a draft is whole and about to get its name
AT_LAST_STEP = textwrap.dedent("""
    import os, signal, sys, time
    what, name = sys.argv.pop(1), sys.argv.pop(1)

    def audit(event, args):
        if event not in ("os.rename", "os.link") or os.path.basename(os.fspath(args[1])) != name:
            return
        if what == "wait":
            open("here", "w").close()
            while not os.path.exists("go"):
                time.sleep(0.01)
        else:
            os.kill(os.getpid(), getattr(signal, what))

    sys.addaudithook(audit)
    from bulkedit.cli.app import app
    app()
""")


def ends(shell: Shell, what: str, name: str, *words: Any) -> int:
    """How a command ends that gets a signal when the draft of a name is whole."""
    with shell.started(name, *words, start=("-c", AT_LAST_STEP, what)) as process:
        process.wait(PATIENT_S)
        return process.returncode


def names(shell: Shell) -> list[str]:
    """The edit list of names that would be wanted elsewhere."""
    lines = [f"{one},set,PatientName,{CANARY}{i}" for i, one in enumerate(shell.image_sets(3))]
    shell.write("edits.csv", "\n".join(["image_set_id,action,attribute,value", *lines]) + "\n")
    return ["edits.csv"]


def holds_values(folder: Path) -> list[Path]:
    """The files in which a canary can be read."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "edits.csv"]
    return [path for path in files if any(CANARY in text for text in texts(path))]


def texts(path: Path) -> list[str]:
    import polars as pl

    content = path.read_bytes()
    if content.startswith(b"PAR1"):
        return [str(value) for row in pl.read_parquet(path).rows() for value in row]
    return [content.decode(errors="replace")]


WRITERS = {
    "plan": ("p", ["plan", "edits.csv", "-o", "p"]),
    "bad rows": ("bad.csv", ["plan", "more.csv", "--bad-rows", "bad.csv", "-o", "p"]),
    "run": ("r", ["apply", "plan", "--yes", "--run", "r"]),
    "results": ("out", ["report", "run", "--results", "out", "--include-values"]),
    "deid": ("d.csv", ["deid", "--deid-profile", "minimal-phi", "--all", "--key", "deid.key", "-o", "d.csv"]),
}


def prepared(shell: Shell, writer: str) -> tuple[str, list[str]]:
    """What a command of `WRITERS` writes, and its words, in a folder that has what it needs."""
    names(shell)
    if writer == "bad rows":
        shell.write("more.csv", (shell.folder / "edits.csv").read_text() + f"nothing,set,PatientName,{CANARY}bad\n")
    if writer in {"run", "results"}:
        assert shell.run("plan", "edits.csv", "-o", "plan").exit_code == EXIT_OK
    if writer == "results":
        assert shell.run("apply", "plan", "--yes", "--run", "run").exit_code == EXIT_OK
    if writer == "deid":
        assert shell.run("deid", "--new-key", "deid.key").exit_code == EXIT_OK
        content = document()
        content["Patient"]["DICOM"]["OtherPatientNames"] = [CANARY]
        shell.emulator.add(content, primary=False)
    return WRITERS[writer]


def drafts(shell: Shell) -> list[Path]:
    return list(drafts_under(shell.folder))


SELDOM = {"bad rows", "results", "run"}  # they write as a plan does


@pytest.mark.parametrize(
    "writer", [pytest.param(one, marks=pytest.mark.slow if one in SELDOM else ()) for one in WRITERS]
)
def test_what_a_kill_leaves_is_gone_after_clean(shell: Shell, writer: str) -> None:
    name, words = prepared(shell, writer)
    others = {path: path.stat().st_mtime_ns for path in shell.folder.rglob("*") if path.is_file()}
    assert ends(shell, "SIGKILL", name, *words) == -signal.SIGKILL
    (left,) = drafts(shell)
    assert left.name.startswith(f".{name}.")
    held = [path for path in holds_values(shell.folder) if path == left or left in path.parents]
    assert held
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (left, *held)} == {0}
    listed = shell.run("clean", "--dry-run")
    assert f"Would be removed: {left.name}" in listed.stdout
    assert drafts(shell) == [left]
    done = shell.run("clean", "--json")
    assert done.json == [
        {"type": "draft", "draft": left.name, "outcome": "removed", "in_use_by": "no process"},
        {"type": "clean", "folder": ".", "removed": 1, "left": 0, "dry_run": False},
    ]
    assert not left.exists()
    assert "No drafts" in shell.run("clean").stdout
    assert {path: path.stat().st_mtime_ns for path in others} == others


def test_what_a_kill_leaves_is_gone_after_the_next_start(shell: Shell) -> None:
    names(shell)
    assert ends(shell, "SIGKILL", "p", "plan", "edits.csv", "-o", "p") == -signal.SIGKILL
    (left,) = drafts(shell)
    assert holds_values(left)
    done = shell.run("plan", "edits.csv", "-o", "p")
    assert done.exit_code == EXIT_OK
    assert f"Removed 1 draft that a killed command had left: {left.name}" in done.stderr
    assert not left.exists()


@pytest.mark.parametrize("place", [".", "plans", "runs"])
def test_every_start_in_the_working_folder_removes_leftovers_even_one_that_fails(shell: Shell, place: str) -> None:
    (shell.folder / place).mkdir(exist_ok=True)
    left = leftover(shell.folder / place)
    assert shell.run("report", "nowhere").exit_code == EXIT_USAGE
    assert not left.exists()


@pytest.mark.parametrize("words", [["plan", "edits.csv", "-o", "deep/q"], [*WRITERS["deid"][1][:-1], "deep/d.csv"]])
def test_leftovers_go_wherever_a_command_writes(shell: Shell, words: list[str]) -> None:
    prepared(shell, "deid")
    (shell.folder / "deep/d.csv.deid").mkdir(parents=True)
    places = [shell.folder / "deep", *([shell.folder / "deep/d.csv.deid"] if words[0] == "deid" else [])]
    left = [leftover(place) for place in places]
    done = shell.run(*words)
    assert done.exit_code == EXIT_OK, done.stderr
    assert [path for path in left if path.exists()] == []


def test_a_draft_of_a_living_process_is_left_alone(shell: Shell) -> None:
    names(shell)
    with shell.started("p", "plan", "edits.csv", "-o", "p", start=("-c", AT_LAST_STEP, "wait")) as process:
        wait_for(lambda: (shell.folder / "here").exists() or process.poll() is not None)
        (draft,) = drafts(shell)
        done = shell.run("clean", "--json")
        assert done.json[0] == {
            "type": "draft",
            "draft": draft.name,
            "outcome": "left",
            "in_use_by": "a process that runs",
        }
        assert "a running process uses it" in shell.run("clean").stdout
        assert shell.run("plan", "edits.csv", "-o", "q").exit_code == EXIT_OK
        assert holds_values(draft)
        shell.write("go", "")
        assert process.wait(PATIENT_S) == EXIT_OK
    assert plans.load(shell.folder / "p").counts["edits"] == 3
    assert drafts(shell) == []


@pytest.mark.parametrize(
    ("writer", "number"),
    [("plan", "SIGINT"), ("run", "SIGTERM")],
)
def test_a_signal_leaves_no_draft(shell: Shell, writer: str, number: str) -> None:
    name, words = prepared(shell, writer)
    assert ends(shell, number, name, *words) == EXIT_INTERRUPTED
    assert drafts(shell) == []
    assert not (shell.folder / name).exists()


def test_a_signal_when_only_the_list_is_left_to_write_leaves_it_whole(shell: Shell) -> None:
    name, words = prepared(shell, "deid")
    assert ends(shell, "SIGTERM", name, *words) == EXIT_OK
    assert drafts(shell) == []
    assert shell.run(*words[:-1], "whole.csv").exit_code == EXIT_OK
    lists = [(shell.folder / one).read_text().splitlines() for one in (name, "whole.csv")]
    assert sorted(lists[0]) == sorted(lists[1])


# -- failed starts


def folders(shell: Shell) -> list[str]:
    return [str(path.relative_to(shell.folder)) for path in holds_values(shell.folder)]


def test_bad_rows_leave_nothing(shell: Shell) -> None:
    shell.write("bad.csv", f"image_set_id,action,attribute,value\nnothing,set,PatientName,{CANARY}\n")
    assert shell.run("apply", "bad.csv", "--yes").exit_code == EXIT_USAGE
    assert folders(shell) == ["bad.csv"]


NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


@pytest.mark.parametrize(
    ("words", "env", "code"),
    [
        pytest.param(["--yes"], NO_CREDENTIALS, EXIT_FATAL, id="no credentials"),
        pytest.param(["--yes", "-d", "0" * 32], {}, EXIT_FATAL, id="no data store"),
        pytest.param(["--yes"], {"BULKEDIT_ENDPOINT_URL": "http://127.0.0.1:9"}, EXIT_FATAL, id="no service"),
        pytest.param([], {}, EXIT_USAGE, id="not agreed to"),
        pytest.param(["--yes", "--run", "edits.csv"], {}, EXIT_USAGE, id="no new folder"),
    ],
)
def test_a_start_that_fails_before_the_run_has_a_ledger_leaves_nothing(
    shell: Shell, words: list[str], env: dict[str, str | None], code: int
) -> None:
    source = names(shell)
    done = shell.run("apply", *source, *words, env=env)
    assert done.exit_code == code, done.stderr
    assert "Nothing was sent. Removed: plans/" in done.stderr
    assert folders(shell) == []
    assert not shell.accepted()


def test_a_plan_of_the_users_stays_though_the_start_fails(shell: Shell) -> None:
    names(shell)
    assert shell.run("plan", "edits.csv", "-o", "p").exit_code == EXIT_OK
    assert shell.run("apply", "p", "--yes", env=NO_CREDENTIALS).exit_code == EXIT_FATAL
    assert {name.split("/")[0] for name in folders(shell)} == {"p"}
    assert plans.load(shell.folder / "p").counts["edits"] == 3


def test_a_full_disk_leaves_nothing(shell: Shell) -> None:
    names(shell)
    limited = textwrap.dedent("""
        import resource, signal
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
        from bulkedit.cli.app import app
        app()
    """)
    with shell.started("plan", "edits.csv", "-o", "p", start=("-c", limited)) as process:
        _, stderr = process.communicate(timeout=PATIENT_S)
    assert process.returncode == EXIT_FATAL
    assert "the plan cannot be written (File too large)" in stderr
    assert drafts(shell) == []
    assert folders(shell) == []


# -- what is no leftover


def leftover(folder: Path, name: str = ".p.1a2b3c4d.bulkedit-draft") -> Path:
    path = folder / name
    path.mkdir()
    (path / "edits.parquet").write_text(CANARY)
    return path


@pytest.mark.parametrize(
    "name",
    [
        ".p.1a2b3c4d",
        ".p.bulkedit-draft",
        "p.1a2b3c4d.bulkedit-draft",
        ".p.1A2B3C4D.bulkedit-draft",
        ".p.1a2b3c4d.bulkedit-draft.old",
        ".1a2b3c4d.bulkedit-draft",
        "deid.parquet.deid",
        "inventory.parquet.part",
    ],
)
def test_only_drafts_are_removed(shell: Shell, name: str) -> None:
    path = leftover(shell.folder, name)
    assert shell.run("clean").exit_code == EXIT_OK
    assert path.exists()


def test_links_are_not_followed_nor_removed(shell: Shell) -> None:
    outside = shell.folder / "outside"
    outside.mkdir()
    kept = leftover(outside, "kept")
    inside = shell.folder / "inside"
    inside.mkdir()
    links = [inside / ".p.00000000.bulkedit-draft", inside / "link"]
    for link, target in zip(links, (kept, outside), strict=True):
        link.symlink_to(target)
    behind = leftover(outside)
    whole = leftover(inside, ".q.11111111.bulkedit-draft")
    (whole / "link").symlink_to(kept)
    done = shell.run("clean", "inside")
    assert done.stdout == "Removed: inside/.q.11111111.bulkedit-draft\n"
    assert all(link.is_symlink() for link in links)
    assert (kept / "edits.parquet").read_text() == CANARY
    assert behind.exists()
    assert not whole.exists()


def test_pipes_named_as_drafts_are_left_and_do_not_hold_the_command_up(shell: Shell) -> None:
    os.mkfifo(shell.folder / ".p.1a2b3c4d.bulkedit-draft")
    assert "No drafts" in shell.run("clean").stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_drafts_of_other_users_are_left(shell: Shell) -> None:
    path = leftover(shell.folder)
    os.chown(path, 12345, -1)
    assert f"Left: {path.name} (it may be in use: it belongs to another user" in shell.run("clean").stdout
    assert path.exists()


def test_folders_within_are_looked_into_and_a_folder_that_is_none_is_said(shell: Shell) -> None:
    deep = shell.folder / "a/b"
    deep.mkdir(parents=True)
    left = leftover(deep)
    assert shell.run("clean", "a").stdout == "Removed: a/b/.p.1a2b3c4d.bulkedit-draft\n"
    assert not left.exists()
    missing = shell.run("clean", "nowhere")
    assert (missing.exit_code, "folder not found" in missing.stderr) == (EXIT_USAGE, True)


# -- drafts themselves


def test_a_file_appears_whole_and_replaces_only_where_it_is_meant_to(tmp_path: Path) -> None:
    target = tmp_path / "f"
    with draft_file(target) as file:
        file.write(b"one")
        assert not target.exists()
    assert (target.read_bytes(), stat.S_IMODE(target.stat().st_mode)) == (b"one", 0o600)
    with pytest.raises(FileExistsError), draft_file(target) as file:
        file.write(b"two")
    assert target.read_bytes() == b"one"
    with draft_file(target, replace=True) as file:
        file.write(b"three")
    assert target.read_bytes() == b"three"
    assert list(tmp_path.iterdir()) == [target]


def test_without_hard_links_a_file_is_still_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "link", no_links)
    target = tmp_path / "f"
    with draft_file(target) as file:
        file.write(b"one")
    with pytest.raises(FileExistsError), draft_file(target) as file:
        file.write(b"two")
    assert (target.read_bytes(), list(tmp_path.iterdir())) == (b"one", [target])


def test_a_draft_of_a_name_as_long_as_a_name_can_be(tmp_path: Path) -> None:
    target = tmp_path / ("ü" * 127)
    with draft_folder(target) as draft:
        assert remove_leftover(draft) is Holder.OTHER
    assert target.is_dir()


def test_a_draft_that_is_taken_for_a_leftover_while_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cleaner comes between the making of the draft and its lock."""
    from bulkedit import _files as files

    plain, made = files._open, []

    def slow(path: Path, *, folder: bool) -> int:
        made.append(path)
        if len(made) == 1:
            path.rmdir()  # before it is opened
        lock = plain(path, folder=folder)
        if len(made) == 2:
            path.rmdir()  # after
        return lock

    monkeypatch.setattr(files, "_open", slow)
    with draft_folder(tmp_path / "p") as draft:
        assert draft == made[-1]
    assert len(made) == 3
    assert (tmp_path / "p").is_dir()


def test_json_begins_as_a_draft(tmp_path: Path) -> None:
    left = leftover(tmp_path)
    write_private_json(tmp_path / "a.json", {"a": 1})
    assert not left.exists()
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": 1}
