"""A key is 32 random bytes, or it is refused; nobody else can read it, and no output shows it."""

from __future__ import annotations

import base64
import errno
import os
import secrets
import stat
import sys
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bulkedit.deidentification import keys
from bulkedit.deidentification.walk import DeidMark
from bulkedit.errors import EXIT_OK, EXIT_USAGE, KeyFileError, ProfileError, StorageError
from bulkedit.options.deid import ENVIRONMENT
from tests.cli.shell import Shell
from tests.deidentification.walkers import ID, KEY, applied, document, level_of, made, walker
from tests.emulator.hospital import document as of_hospital

if TYPE_CHECKING:
    from bulkedit.emulator import Emulator

RANDOM = bytes.fromhex(KEY.secret.decode())


@pytest.fixture
def shell(tmp_path: Path, emulator: Emulator) -> Shell:
    return Shell(tmp_path, emulator)


def hexadecimal(content: bytes) -> bytes:
    return content.hex().encode()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"12345678" * 4, id="32 characters"),
        pytest.param(b"12345678" * 8, id="64 digits that repeat"),
        pytest.param(b"correct horse battery staple and a few more words", id="sentence"),
        pytest.param(b"the-quick-brown-fox-jumps-over-the-lazy-dog", id="sentence that is base64"),
        pytest.param(b"THE-QUICK-BROWN-FOX-JUMPS-OVER-THE-LAZY-DOG", id="the same in capitals"),
        pytest.param(hexadecimal(b"The patients of ward 7, all five"), id="sentence in hexadecimal"),
        pytest.param(base64.b64encode("Die Schl\u00fcssel liegen am Fenster".encode()[:32]), id="sentence in base64"),
        pytest.param(b"%PDF-1.7\n" + secrets.token_bytes(5000), id="document"),
        pytest.param(b'{"Patient": {"DICOM": {"PatientName": "DOE^JANE", "PatientID": "MRN-0017"}}}', id="JSON"),
        pytest.param(b"0" * 64, id="zeros"),
        pytest.param(hexadecimal(bytes(range(32))), id="counting up"),
        pytest.param(hexadecimal(bytes(range(255, 0, -8))), id="counting down"),
        pytest.param(hexadecimal(RANDOM[:20] + RANDOM[:12]), id="random, but it repeats"),
        pytest.param(b"3141592653589793238462643383279502884197169399375105820974944592", id="digits of pi"),
        pytest.param(hexadecimal(RANDOM[:31]), id="31 bytes"),
        pytest.param(hexadecimal(RANDOM + b"x"), id="33 bytes"),
        pytest.param(hexadecimal(RANDOM) + b"\n" + hexadecimal(RANDOM), id="two keys"),
        pytest.param(RANDOM, id="32 raw bytes"),
        pytest.param(b"\xef\xbb\xbf" + hexadecimal(RANDOM), id="byte order mark"),
        pytest.param(KEY.secret.decode().encode("utf-16"), id="UTF-16"),
        pytest.param(b"A" * 42 + b"B", id="base64 with bits to spare"),
    ],
)
def test_what_is_not_32_random_bytes_is_refused_and_never_shown(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "deid.key"
    file.write_bytes(text)
    with pytest.raises(KeyFileError, match=r"not 32 random bytes|not random") as raised:
        keys.load(file)
    said = str(raised.value)
    assert "bulkedit deid --new-key" in said
    assert not text or text.decode(errors="replace")[:12] not in said


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda content: content.hex(), id="hexadecimal"),
        pytest.param(lambda content: content.hex().upper(), id="capitals"),
        pytest.param(lambda content: base64.b64encode(content).decode(), id="base64"),
        pytest.param(lambda content: base64.urlsafe_b64encode(content).decode().rstrip("="), id="url-safe"),
    ],
)
def test_every_way_to_write_a_random_key_is_taken_as_it_is_written(tmp_path: Path, write: object) -> None:
    for _ in range(500):
        text = write(secrets.token_bytes(32))  # type: ignore[operator]
        assert keys.checked(text.encode(), "here").secret == text.encode()
    file = tmp_path / "deid.key"
    file.write_text(f" {text}\r\n")
    assert keys.load(file).secret == text.encode()


def _at_most_distinct(draws: int, values: int, most: int) -> Fraction:
    """How likely so many draws of so many values show at most ``most`` different ones."""
    chances = [Fraction(1)] + [Fraction(0)] * draws
    for _ in range(draws):
        stays = [chance * Fraction(seen, values) for seen, chance in enumerate(chances)]
        grows = [chance * Fraction(values - seen, values) for seen, chance in enumerate(chances)]
        chances = [stay + grow for stay, grow in zip(stays, [Fraction(0), *grows[:-1]], strict=True)]
    return sum(chances[: most + 1], Fraction(0))


def _texts() -> int:
    """How many of all 32 bytes are a text to `keys.not_random`: characters of one byte, and of two."""
    characters = [chr(code) for code in range(ord(keys._LAST_LATIN) + 1)]
    shown = [character for character in characters if character.isprintable() or character in "\t\r\n"]
    one, two = (sum(len(character.encode()) == size for character in shown) for size in (1, 2))
    counts = [1, one]
    while len(counts) <= keys.BYTES:
        counts.append(one * counts[-1] + two * counts[-2])
    return counts[keys.BYTES]


def test_a_random_key_is_refused_less_often_than_once_in_two_to_the_forty() -> None:
    refused = [
        _at_most_distinct(32, 256, keys._FEWEST_DISTINCT - 1),
        _at_most_distinct(31, 256, keys._FEWEST_STEPS - 1),
        *(Fraction(1, 256 ** (32 - period)) for period in range(1, keys._LONGEST_PERIOD + 1)),
        Fraction(10, 16) ** 64,
        Fraction(_texts(), 256**32),
        2 * Fraction(26 + 2, 64) ** 43,  # base64 of one case without digits
    ]
    assert sum(refused) < Fraction(1, 2**41)


def test_pseudonyms_of_keys_from_before_are_the_same() -> None:
    """As `openssl rand -hex 32` makes keys, and as the first version derived from them."""
    assert KEY.derived("uid").hex() == "771aac8865e416c6865869702cb605ce1067fb88b3555ec4b9896906c97d5357"
    assert KEY.former_fingerprint == "356a04e0068f59ff"


def test_a_guess_at_the_fingerprint_costs_a_scrypt() -> None:
    began = time.process_time()
    fingerprint = keys.Key(hexadecimal(secrets.token_bytes(32))).fingerprint
    assert time.process_time() - began > 0.05  # 128 MiB are written and read, on any machine
    assert len(bytes.fromhex(fingerprint)) == 8
    assert KEY.fingerprint == "1ca4e9069834b9c6"
    assert KEY.fingerprint != KEY.former_fingerprint


def test_a_mark_of_an_earlier_version_is_recognised_and_made_slow_to_guess() -> None:
    profile = made("")
    content = document({"ContentDate": "20240102"}, patient={"PatientID": "MRN1"})
    once = applied(content, walker(profile).derive(ID, content).edits)
    patient = level_of(once, "Patient")
    (mark,) = patient["DeidentificationMethod"]
    patient["DeidentificationMethod"] = ["by hand", mark.replace(KEY.fingerprint, KEY.former_fingerprint)]
    again = walker(profile).derive(ID, once)
    assert again.marked
    assert [edit.attribute for edit in again.edits] == ["DeidentificationMethod"]
    assert level_of(applied(once, again.edits), "Patient")["DeidentificationMethod"] == ["by hand", mark]


def test_the_mark_of_another_key_is_left_alone() -> None:
    mark = DeidMark("basic", "d" * 64, "a" * 16, "b" * 16)
    for text in (f"bulkedit basic dddddddd key {'c' * 16}", f"by hand key {'b' * 16}"):
        assert mark.renewed(text) == text
        assert not mark.is_by(text)


def test_a_key_never_shows_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert KEY.secret.decode() not in f"{KEY!r} {KEY} {KEY.fingerprint}"
    with pytest.raises(KeyFileError):
        keys.load(tmp_path / "none.key")
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    with pytest.raises(KeyFileError, match="no key is given"):
        keys.load(None)
    monkeypatch.setenv(ENVIRONMENT, KEY.secret.decode() + "\n")
    assert keys.load(None) == KEY


def test_a_new_key_is_private_taken_and_never_written_over(shell: Shell) -> None:
    done = shell.run("deid", "--new-key", "deid.key", "--json")
    file = shell.folder / "deid.key"
    assert (done.exit_code, done.json) == (EXIT_OK, [{"type": "deid-key", "file": "deid.key"}])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    text = file.read_text()
    assert keys.load(file).secret == text.strip().encode()
    assert len(text) == 65
    again = shell.run("deid", "--new-key", "deid.key")
    assert (again.exit_code, file.read_text()) == (EXIT_USAGE, text)
    assert "never replaced" in again.stderr
    other = shell.run("deid", "--new-key", "other.key")
    assert "Never store it with the released data" in other.stdout
    assert (shell.folder / "other.key").read_text().strip() not in other.stdout + other.stderr
    assert (shell.folder / "other.key").read_text() != text


def test_a_new_key_that_cannot_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        keys.make(tmp_path / "deid.key")
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_not_there_is_not_exposed(tmp_path: Path) -> None:
    assert keys.exposed(tmp_path / "none.key") is None


def test_without_the_packages_the_error_says_how_to_install_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.kdf.hkdf", None)
    with pytest.raises(ProfileError, match="pip install"):
        keys.Key(secrets.token_bytes(32)).derived("a purpose")


def test_a_new_key_is_all_that_is_made(shell: Shell) -> None:
    done = shell.run("deid", "--new-key", "deid.key", "--all", "--deid-profile", "basic")
    assert done.exit_code == EXIT_USAGE
    assert "Leave out: --deid-profile, --all." in done.stderr
    assert list(shell.folder.iterdir()) == []


@pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o400, False), (0o640, True), (0o604, True)])
def test_a_key_that_others_can_read_is_warned_of(shell: Shell, mode: int, warned: bool) -> None:
    shell.emulator.add(of_hospital())
    for name in ("deid.key", "map.key"):
        shell.write(name, base64.urlsafe_b64encode(RANDOM)).chmod(mode)
    words = ["--reidentification-map", "map", "--map-key", "map.key", "-o", "edits.csv"]
    done = shell.run("deid", "--deid-profile", "minimal-phi", "--all", "--key", "deid.key", *words)
    assert done.exit_code == EXIT_OK, done.stderr
    for name in ("deid.key", "map.key"):
        said = f"warning: {name}: other users of this machine can read or change this key (mode {mode:04o})."
        assert (said in done.stderr, f"chmod 600 {name}" in done.stderr) == (warned, warned)


def test_the_mode_of_a_pipe_is_not_warned_of() -> None:
    reading, writing = os.pipe()
    try:
        os.write(writing, KEY.secret)
        os.close(writing)
        file = Path(f"/dev/fd/{reading}")
        assert keys.exposed(file) is None
        assert keys.load(file) == KEY
    finally:
        os.close(reading)
