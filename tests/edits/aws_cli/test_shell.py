"""Scripts are split into words as bash splits them, or refused."""

from __future__ import annotations

import random
import shutil
import subprocess

import pytest

from bulkedit.edits.aws_cli.shell import Command, commands
from bulkedit.errors import EditListError

PIECES = (
    *("a", "b", "1", "é", "\u00a0", "=", "-", "--x", ".", ":", " ", "  ", "\t", "\n", "'", '"', "\\", "\\\n"),
    *("$", "$X", "${X}"),
    *("#", " #", "{", "}", "{a}", ",", "..", "~", "=~", "*", "?", "[", "!", "^", ";", "\\'", '\\"', '"a b"', "'c\nd'"),
)  # fmt: skip
# prints how many words each call of P has, and the words
PRINTED = """while IFS= read -r -d '' s; do
  eval "P() { printf '<%d>' \\$#; [ \\$# -gt 0 ] && printf '%s\\0' \\"\\$@\\"; return 0; }"
  eval "$s" 2>/dev/null
  printf '\\1'
done"""


def split(script: str) -> list[Command]:
    return list(commands(enumerate(script.split("\n"), 1)))


def texts(script: str) -> list[list[str]]:
    return [[word.text for word in command.words] for command in split(script)]


def certain(script: str) -> str | None:
    """What bash has to print for a script of calls of P; None if a shell alone can tell, or it has other commands."""
    try:
        found = split(script)
    except EditListError:
        return None
    if any(word.expands for command in found for word in command.words):
        return None
    if any(command.reads or command.writes or [word.text for word in command.words[:1]] != ["P"] for command in found):
        return None
    return "".join(
        f"<{len(command.words) - 1}>" + "".join(word.text + "\0" for word in command.words[1:]) for command in found
    )


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize("count", [2_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_words_are_those_of_bash_or_not_certain(count: int) -> None:
    seed = 20 if count < 10_000 else random.randrange(2**32)
    chance = random.Random(seed)
    scripts = ["P " + "".join(chance.choices(PIECES, k=chance.randint(1, 12))) for _ in range(count)]
    expected = {script: text for script in scripts if (text := certain(script)) is not None}
    ran = subprocess.run(
        ["bash", "--norc", "-c", PRINTED],
        input="".join(script + "\0" for script in expected).encode(),
        env={"LC_ALL": "C.UTF-8"},
        capture_output=True,
        check=True,
        timeout=300,
    )
    printed = ran.stdout.decode().split("\1")[:-1]
    assert len(expected) > count / 10
    assert [
        (seed, script) for (script, text), found in zip(expected.items(), printed, strict=True) if found != text
    ] == []


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("a b", [["a", "b"]]),
        ("a 'b c' \"d 'e'\"", [["a", "b c", "d 'e'"]]),
        (r"a 'it'\''s'", [["a", "it's"]]),
        ('a "\\"b\\" \\\\ \\n"', [["a", '"b" \\ \\n']]),
        ("a \\\n  b", [["a", "b"]]),
        ("a '{\n}'", [["a", "{\n}"]]),
        ("a b#c # d 'e", [["a", "b#c"]]),
        ("# a\n\n \nb", [["b"]]),
        ("a; b && c || d", [["a"], ["b"], ["c"], ["d"]]),
        ("a > b 2>&1 >> c c2>d", [["a", "c2"]]),
        ("a '' \"\"", [["a", "", ""]]),
    ],
)
def test_words(script: str, expected: list[list[str]]) -> None:
    assert texts(script) == expected


@pytest.mark.parametrize("word", ["$X", '"$X"', "${X}", "a*", "x[0]", "{a,b}", "~/x", "a=~", "$1"])
def test_what_only_a_shell_can_tell_is_marked(word: str) -> None:
    assert split(f"a {word} 'b $X * {{c,d}} ~'")[0].words[1].expands
    assert split(f"a '{word.strip(chr(34))}'")[0].words[1].expands is None


@pytest.mark.parametrize(
    ("script", "line", "what"),
    [
        ("a\nb $(c)", 2, "only a shell can compute"),
        ("a\nb `c`", 2, "only a shell can compute"),
        ("a ${b:-c}", 1, "only a shell can compute"),
        ("a $((1+1))", 1, "only a shell can compute"),
        ("a $\\\nb", 1, "only a shell can compute"),
        ("a $'b'", 1, "the quotes $'…'"),
        ("a <<EOF\nb\nEOF", 1, "here-document"),
        ("a() { b; }", 1, "parentheses"),
        ("(a)", 1, "parentheses"),
        ("a 'b\nc\n", 1, "not closed"),
        ("a\nb \\", 2, "backslash"),
        ("a ^\nb", 1, "Windows"),
        ("a `\nb", 1, "PowerShell"),
        ("a >", 1, "names no file"),
        ("a ;; b", 1, "branch"),
        ("&& a", 1, "no command before"),
        ("a " * 1_100, 1, "more than 1,000 words"),
        ("a;" * 1_100, 1, "more than 1,000 commands"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_line(script: str, line: int, what: str) -> None:
    with pytest.raises(EditListError, match=f"line {line}") as caught:
        split(script)
    assert what in caught.value.what
    assert caught.value.hint
