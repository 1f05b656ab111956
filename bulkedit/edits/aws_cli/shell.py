"""Splits a shell script into simple commands, and runs nothing.

Quotes, backslashes, comments and redirections are read as bash reads them (bash manual, 3.1.2 and 3.6). What only a
shell can tell, such as the value of a variable, is marked. What would make the rest of the script unreadable is an
error. `shlex` of the standard library is not used: it does not tell '$X' from "$X", takes the end of a#b for a comment,
and keeps a backslash at the end of a line. bashlex is not used because of its licence (GPL).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulkedit.edits.bounds import LONGEST_ROW
from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_PLAIN: Final = re.compile(r"""[^ \t'"\\$`;&|<>()]+""")
_QUOTED: Final = re.compile(r'[^"\\$`]+')
_REDIRECTION: Final = re.compile(r"(?:[0-9]*(?:>>|>\||>&|>|<<<|<<|<&|<>|<))|&>>|&>")
_JOINT: Final = re.compile(r"&&|\|\||\|&|\||;;|;|&")
_VARIABLE: Final = re.compile(r"\$(?:[A-Za-z_][A-Za-z0-9_]*|\{[A-Za-z_][A-Za-z0-9_]*\}|[0-9?#@*!$-])")
_MOST: Final = 1_000  # words of a command, and commands of a line
_IN_SINGLE_QUOTES: Final = "Write the value itself, in single quotes."


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a command, without its quotes."""

    text: str
    bare: str  # what of it is outside of quotes
    expands: str | None = None  # why only a shell can tell what the word is


@dataclass(slots=True)
class Command:
    """A simple command, by the line on which it begins."""

    line: int
    words: list[Word] = field(default_factory=list)
    before: str = ""  # what joins it to the command before: ; && || | or nothing
    after: str = ""
    reads: bool = False  # its input is redirected
    writes: list[Word] = field(default_factory=list)  # the files of its output


class _Building:
    """The word that is being read."""

    def __init__(self) -> None:
        self.text: list[str] = []
        self.bare: list[str] = []
        self.variable = False

    def add(self, text: str, *, quoted: bool) -> None:
        self.text.append(text)
        if not quoted:
            self.bare.append(text)

    def done(self) -> Word:
        bare = "".join(self.bare)
        return Word("".join(self.text), bare, "a variable" if self.variable else _expansion(bare))


def _expansion(bare: str) -> str | None:
    """Return what a shell would replace in the part of a word that is outside of quotes."""
    if any(mark in bare for mark in "*?["):
        return "a pattern of file names outside of quotes"
    within = bare[bare.find("{") :] if "{" in bare else ""
    if "," in within or ".." in within:
        return "braces outside of quotes"
    if bare.startswith("~") or "=~" in bare or ":~" in bare:
        return "a tilde outside of quotes"
    return None


def commands(lines: Iterable[tuple[int, str]]) -> Iterator[Command]:
    """Yield the commands of a script. ``lines``: numbers from 1, and texts without line ends.

    Raises EditListError with the line, for what ends the reading: here-documents, $(…), functions, an open quote.
    """
    reading = _Script()
    for number, line in lines:
        yield from reading.feed(number, line)
    yield from reading.end()


class _Script:
    """A script that is read line by line."""

    def __init__(self) -> None:
        self._number = 0
        self._continued = False
        self._begin = 0  # the line of the open quote
        self._quote = ""
        self._word: _Building | None = None
        self._command: Command | None = None
        self._joint = ""  # what joins the next command to the one before
        self._redirecting = ""
        self._length = 0
        self._done: list[Command] = []

    def feed(self, number: int, line: str) -> list[Command]:
        """Read a line. Returns the commands that have ended."""
        self._number = number
        self._length += len(line) + 1
        if self._length > LONGEST_ROW:
            raise self._error(f"the command is longer than {LONGEST_ROW // 2**20} MiB.", "Is a quote not closed?")
        place = 0
        while place < len(line):
            place = self._in_quotes(line, place) if self._quote else self._outside(line, place)
        self._continued = place > len(line)  # the line ends with a backslash
        if not self._continued:
            if self._quote:
                self._into().add("\n", quoted=True)
            else:
                self._end_command("\n")
        done, self._done = self._done, []
        return done

    def end(self) -> list[Command]:
        """Return the last command. Raises EditListError if a quote is open."""
        if self._quote:
            raise self._error("a quotation mark is not closed.", "Close it before the next command.", self._begin)
        if self._continued:
            raise self._error("the script ends within a command, with a backslash.", "The file may be cut short.")
        self._end_command("\n")
        return self._done

    def _in_quotes(self, line: str, place: int) -> int:
        if self._quote == "'":
            end = line.find("'", place)
            self._into().add(line[place:] if end < 0 else line[place:end], quoted=True)
            self._quote = self._quote if end < 0 else ""
            return len(line) if end < 0 else end + 1
        if found := _QUOTED.match(line, place):
            self._into().add(found[0], quoted=True)
            return found.end()
        match line[place]:
            case '"':
                self._quote = ""
                return place + 1
            case "\\":
                return self._escaped_in_quotes(line, place)
            case _:
                return self._expanded(line, place, quoted=True)

    def _escaped_in_quotes(self, line: str, place: int) -> int:
        following = line[place + 1 : place + 2]
        if not following:
            return len(line) + 1
        self._into().add(following if following in '$`"\\' else "\\" + following, quoted=True)
        return place + 2

    def _outside(self, line: str, place: int) -> int:
        if line[place] in " \t":
            self._end_word()
            return place + 1
        if line[place] == "#" and self._word is None:
            return len(line)
        if (found := _REDIRECTION.match(line, place)) and (self._word is None or not line[place].isdigit()):
            self._redirect(found)
        elif found := _JOINT.match(line, place):
            self._end_command(found[0])
        else:
            return self._in_word(line, place)
        return found.end()

    def _in_word(self, line: str, place: int) -> int:
        match line[place]:
            case "'" | '"' as quote:
                self._quote, self._begin = quote, self._number
                self._into()
                return place + 1
            case "\\":
                return self._escaped(line, place)
        if found := _PLAIN.match(line, place):
            return self._plain(line, found)
        return self._expanded(line, place, quoted=False)

    def _plain(self, line: str, found: re.Match[str]) -> int:
        text = found[0]
        if text == "^" and found.end() == len(line) and self._word is None:
            raise self._error("a line is continued with ^, as in a batch file of Windows.", _BASH)
        self._into().add(text, quoted=False)
        return found.end()

    def _escaped(self, line: str, place: int) -> int:
        following = line[place + 1 : place + 2]
        if not following:
            return len(line) + 1
        self._into().add(following, quoted=True)
        return place + 2

    def _expanded(self, line: str, place: int, *, quoted: bool) -> int:
        """Read what begins with $ or a backtick, or a parenthesis."""
        if found := _VARIABLE.match(line, place):
            self._into().variable = True
            return found.end()
        following = line[place + 1 : place + 2]
        if line[place] == "`" and not following and not quoted:
            raise self._error("a line is continued with a backtick, as in PowerShell.", _BASH)
        if line[place] in "()":
            raise self._error("it has a function or a group of commands in parentheses.", _ONE_BY_ONE)
        if line[place] == "`" or following in {"(", "{", "["} or line[place + 1 :] == "\\":
            raise self._error("it has a value that only a shell can compute.", _IN_SINGLE_QUOTES)
        if not quoted and following in {"'", '"'}:
            raise self._error(f"it has the quotes ${following}…{following} of bash.", _IN_SINGLE_QUOTES)
        self._into().add("$", quoted=quoted)
        return place + 1

    def _redirect(self, found: re.Match[str]) -> None:
        if self._word is not None and self._word.text == self._word.bare and "".join(self._word.bare).isdecimal():
            self._word = None  # the number of a file, at the end of the line before
        self._end_word()
        operator = found[0].lstrip("0123456789")
        if operator == "<<":
            raise self._error(
                "it has a here-document.", "Put its text into a file beside the script, and name that: file://NAME"
            )
        if self._redirecting:
            raise self._error("a redirection names no file.", "Delete the redirection.")
        self._redirecting = operator
        self._open()

    def _open(self) -> Command:
        if self._command is None:
            self._command = Command(self._number, before=self._joint)
            self._joint = ""
        return self._command

    def _into(self) -> _Building:
        if self._word is None:
            self._open()
            self._word = _Building()
        return self._word

    def _end_word(self) -> None:
        if self._word is None:
            return
        word, self._word = self._word.done(), None
        command = self._open()
        operator, self._redirecting = self._redirecting, ""
        if len(command.words) + len(command.writes) > _MOST:
            raise self._error(f"the command has more than {_MOST:,} words.", "The file may not be a script.")
        if not operator:
            command.words.append(word)
        elif operator.startswith("<"):
            command.reads = True
        elif operator != ">&" or not re.fullmatch("[0-9]+|-", word.text):
            command.writes.append(word)

    def _end_command(self, joint: str) -> None:
        self._end_word()
        if self._redirecting:
            raise self._error("a redirection names no file.", "Delete the redirection.")
        if joint == ";;":
            raise self._error("it has a branch of `case`.", _ONE_BY_ONE)
        self._length = 0
        if self._command is not None:
            self._command.after = "" if joint == "\n" else joint
            self._done.append(self._command)
            if len(self._done) > _MOST:
                raise self._error(f"the line has more than {_MOST:,} commands.", "The file may not be a script.")
            self._command = None
            self._joint = self._done[-1].after
        elif joint != "\n":
            raise self._error(f"there is no command before {joint}.", "Delete it.")

    def _error(self, what: str, hint: str, line: int | None = None) -> EditListError:
        return EditListError(what, where=f"line {line or self._number:,}", hint=hint)


_ONE_BY_ONE: Final = "Write each update as a command of its own, with its values."
_BASH: Final = "Write the list as a script of bash, or as JSON lines of --cli-input-json."
