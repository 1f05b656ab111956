"""What comes from elsewhere can neither steer a terminal nor turn its text round."""

from __future__ import annotations

import io
import json
import subprocess
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.text import Text

from bulkedit._printable import printable, printable_json, printable_lines, shell_word
from bulkedit.cli._console import SafeConsole, json_line
from bulkedit.errors import UsageError

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
UNSAFE = [*map(chr, [*range(0x20), *range(0x7F, 0xA0)]), *BIDI, "\u2028", "\u2029", "\udc80"]


@pytest.mark.parametrize("character", UNSAFE, ids=lambda c: f"U+{ord(c):04X}")
def test_an_unsafe_character_is_escaped_everywhere(character: str) -> None:
    text = f"a{character}b"
    assert printable(text) == f"a{character.encode('unicode_escape').decode()}b"
    assert printable_json(json.dumps(text, ensure_ascii=False)).isascii()
    assert json.loads(printable_json(json.dumps(text, ensure_ascii=False))) == text


def is_unsafe(character: str) -> bool:
    return unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"} or character in BIDI


@given(st.text(st.characters(codec=None)))
def test_nothing_unsafe_is_left_and_nothing_else_is_changed(text: str) -> None:
    shown = printable(text)
    assert not any(map(is_unsafe, shown))
    if not any(map(is_unsafe, text)):
        assert shown == text
    assert printable(shown) == shown


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20))
def test_a_shell_reads_a_word_as_it_was(word: str) -> None:
    quoted = shell_word(word)
    assert not any(map(is_unsafe, quoted))
    done = subprocess.run(["bash", "-c", f"printf %s {quoted}"], capture_output=True, check=True)
    assert done.stdout.decode() == word


def shown(*objects: object, terminal: bool = False) -> str:
    file = io.StringIO()
    console = SafeConsole(file=file, force_terminal=terminal, color_system="truecolor" if terminal else None)
    console.print(*objects, markup=False, highlight=False, soft_wrap=True)
    return file.getvalue()


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_printed_is_escaped_in_texts_and_strings(terminal: bool) -> None:
    for one in ("a\x1b[2Jb", Text("a\x1b[2Jb"), Text.assemble(("a\x1b[2Jb", ""))):
        assert shown(one, terminal=terminal) == "a\\x1b[2Jb\n"


def test_colours_stay() -> None:
    assert shown(Text("a", "bold red"), terminal=True) == "\x1b[1;31ma\x1b[0m\n"


def test_lines_stay_lines() -> None:
    assert printable_lines("a\nb\r\n") == "a\nb\\r\n"


def test_a_name_cannot_forge_a_line_of_an_error() -> None:
    error = UsageError("there is something there already.", where="run\nerror: nothing was sent")
    assert str(error) == "run\\nerror: nothing was sent: there is something there already."


def test_json_has_no_character_that_a_terminal_obeys(capsys: pytest.CaptureFixture[str]) -> None:
    json_line({"type": "x", "folder": "r\x9b2J\u202e"})
    out = capsys.readouterr().out
    assert out == '{"type": "x", "folder": "r\\u009b2J\\u202e"}\n'
