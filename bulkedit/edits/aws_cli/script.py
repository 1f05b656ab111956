"""A shell script of the AWS CLI as a list of the call form: one ``update-image-set-metadata`` command per row.

The script is read, never run. A command of another kind is a problem of its line. What would change the meaning of
other lines, such as a loop or `cd`, is an error of the whole script.
"""

from __future__ import annotations

import difflib
import re
from typing import IO, TYPE_CHECKING, Final

from bulkedit.edits.aws_cli.documents import SCHEMES, DocumentError, Documents
from bulkedit.edits.aws_cli.shell import Command, Word, commands
from bulkedit.edits.aws_cli.shorthand import shorthand
from bulkedit.edits.bounds import check_problems
from bulkedit.edits.columns import CLI_KEYS
from bulkedit.edits.edit import json_text
from bulkedit.edits.jsonl import numbered_lines
from bulkedit.edits.notices import of_file
from bulkedit.edits.problems import one
from bulkedit.edits.strict_json import strict_json
from bulkedit.edits.table import MadeTable
from bulkedit.errors import EditListError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from bulkedit._json import JsonObject

_HEADER: Final = (*CLI_KEYS.values(), "force")
_COMMAND: Final = ("medical-imaging", "update-image-set-metadata")
_ONE_BY_ONE: Final = "Write each update as a command of its own, with its values."

# -- words that begin a command
_RESERVED: Final = {
    *("if", "then", "elif", "else", "fi", "for", "while", "until", "do", "done", "case", "esac", "in", "select"),
    *("function", "coproc", "{", "}", "!", "[[", "]]", "[", "test"),
}
_MEANING: Final = {  # they change what other lines mean
    *("cd", "pushd", "popd", "exit", "return", "exec", "eval", "source", ".", "trap", "alias", "unalias", "shopt"),
    *("enable", "builtin", "chroot", "break", "continue"),
}
_PASSED_OVER: Final = {"echo", "sleep", "set", "true"}
_BEFORE: Final = {"sudo", "command", "nohup", "time", "env"}  # without options of their own
_AWS: Final = {"aws", "aws2"}
_SET: Final = re.compile(r"[-+](?:[eEuvx]+|[eEuvx]*o)")
_SET_WORDS: Final = {"errexit", "nounset", "pipefail", "verbose", "xtrace", "errtrace"}
_ASSIGNMENT: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\+?=")
_SHELLS: Final = re.compile(r"#!.*\b(?:ba|da|z|k|a)?sh\b")

# -- options
_NAMES: Final = {  # option -> column
    "datastore-id": "datastore_id",
    "image-set-id": "image_set_id",
    "latest-version-id": "latest_version_id",
    "update-image-set-metadata-updates": "updates",
}
_FLAGS: Final = {"force": "force", "include-study-image-sets": "include_study_image_sets"}
_JSON_FLAGS: Final = {"force": "force", "includeStudyImageSets": "include_study_image_sets"}
_INPUT: Final = "cli-input-json"
_NOT_USED: Final = ("region", "profile", "endpoint-url", "ca-bundle")  # a notice names them
_IGNORED: Final = {  # they change neither the call nor where it goes
    *("output", "query", "color", "cli-read-timeout", "cli-connect-timeout", "cli-binary-format", "cli-error-format"),
}
_IGNORED_FLAGS: Final = {"debug", "no-paginate", "no-cli-pager", "no-cli-auto-prompt", "no-verify-ssl"}
_VALUED: Final = {*_NAMES, _INPUT, *_NOT_USED, *_IGNORED}
_ALL_FLAGS: Final = {*_FLAGS, *(f"no-{flag}" for flag in _FLAGS), *_IGNORED_FLAGS}
_WITHOUT_CALL: Final = {"generate-cli-skeleton", "cli-input-yaml", "cli-auto-prompt", "no-sign-request", "version"}
_TYPOGRAPHIC: Final = "\u2018\u2019\u201c\u201d\u201e\u2013\u2014\u00a0"
_ENVIRONMENT: Final = {
    "AWS_REGION": "region",
    "AWS_DEFAULT_REGION": "region",
    "AWS_PROFILE": "profile",
    "AWS_ENDPOINT_URL": "endpoint-url",
}


class _LineError(ValueError):
    """A command that makes no row: the code of the problem, its text, and what to do."""

    def __init__(self, code: str, text: str, hint: str | None = None, column: str | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.hint = hint
        self.column = column


class AwsCliScript(MadeTable):
    """A script. The rows are commands, numbered by the line on which each begins."""

    def __init__(self, stream: IO[bytes], folder: Path | None) -> None:
        """``folder``: of the script, for the documents that it names; None for a stream."""
        super().__init__(_HEADER)
        self._bytes = 0
        self._documents = Documents(folder, lambda: self._bytes)
        self._group: int | None = None  # the line of a { that is open
        self._last = 0  # the line of the last row
        self._passed_over = self._redirected = 0
        self._not_used: dict[str, int] = {}
        self._regions: set[str] = set()
        self._written: set[Path] = set()
        for command in commands(self._lines(stream)):
            self._take(command)
        if self._group is not None:
            raise EditListError("a { is not closed.", where=f"line {self._group:,}", hint=_ONE_BY_ONE)
        if self.is_empty:
            raise EditListError("the script has no command.", hint="An edit list has at least one row.")
        self._check_written()
        self._say()

    def _lines(self, stream: IO[bytes]) -> Iterator[tuple[int, str]]:
        for first, lines in numbered_lines(stream):
            for number, line in enumerate(lines, first):
                self._bytes += len(line) + 1
                if number == 1 and line.startswith("#!") and not _SHELLS.match(line):
                    raise EditListError(
                        "the script is not of a shell.", where="line 1", hint="Write the list as a script of bash."
                    )
                yield number, line.removesuffix("\r")

    # -- commands

    def _take(self, command: Command) -> None:
        self._note_written(command)
        words = command.words
        while words and _ASSIGNMENT.match(words[0].bare):
            words = words[1:]
        if self._is_in_group(command, words):
            return
        if words and words[0].bare == words[0].text:
            _check_readable(command, words[0].text)
        if _is_passed_over(command, words):
            self._passed_over += 1
            return
        cells: dict[str, str] = {}
        try:
            cells = self._row_of(command, words)
        except _LineError as error:
            self.problems.append(one(command.line, error.code, str(error), error.column, hint=error.hint))
            check_problems(len(self.problems), command.line, "commands")
        if command.line == self._last:
            text = "the line has another command."
            self.problems.append(one(command.line, "not-an-update", text, hint="Give each command its own line."))
            return
        self._last = command.line
        self.add(command.line, [cells.get(name) for name in _HEADER])

    def _is_in_group(self, command: Command, words: Sequence[Word]) -> bool:
        """Whether a command belongs to a group that runs after a failure: || { echo …; exit 1; }."""
        if self._group is None and command.before == "||" and words and words[0].bare == "{":
            self._group, words = command.line, words[1:]
        elif self._group is None:
            return False
        name = words[0].bare if words else None
        if name not in {"echo", "sleep", "true", "exit", "}", None} or {command.before, command.after} & {"|", "|&"}:
            raise EditListError("it has a group of commands.", where=f"line {command.line:,}", hint=_ONE_BY_ONE)
        if name == "}":
            self._group = None
            self._passed_over += 1
        return True

    def _note_written(self, command: Command) -> None:
        for word in command.writes:
            self._redirected += word.text != "/dev/null"
            try:
                self._written.add(self._documents.path(word.text))
            except DocumentError:  # it is no document of this script then
                continue

    def _row_of(self, command: Command, words: Sequence[Word]) -> dict[str, str]:
        """Return the cells of a command, by column."""
        before = command.words[: len(command.words) - len(words)]
        while words and words[0].text in _BEFORE:
            words = words[1:]
            while words and _ASSIGNMENT.match(words[0].bare):
                before, words = [*before, words[0]], words[1:]
        _check_is_aws(words)
        _check_alone(command)
        options = _Options(words[1:])
        if tuple(options.words[:2]) != _COMMAND:
            raise _another(options.words)
        if options.fault:
            raise options.fault
        if options.words[2:]:
            raise _stray(options.words[2:])
        self._note_not_used(options, before)
        return self._cells(options, command.line)

    def _note_not_used(self, options: _Options, before: Sequence[Word]) -> None:
        given: dict[str, str] = {name: options.values[name] for name in _NOT_USED if name in options.values}
        for word in before:
            name, _, value = word.text.partition("=")
            if (option := _ENVIRONMENT.get(name)) is not None:
                given.setdefault(option, value)
        for name in given:
            self._not_used[name] = self._not_used.get(name, 0) + 1
        self._regions |= {value for name, value in given.items() if name == "region"}
        if len(self._regions) > 1:
            raise EditListError(
                "its commands name more than one region.", hint="Split the script: a run works on one data store."
            )

    def _cells(self, options: _Options, line: int) -> dict[str, str]:
        def content(text: str) -> str:
            try:
                return self._documents.content(text, line) if text.startswith(SCHEMES) else text
            except DocumentError as error:
                raise _LineError("cli-document", str(error), error.hint, "updates") from None

        given = options.values
        cells = _from_json(content(given[_INPUT])) if _INPUT in given else {}
        cells |= {column: given[name] for name, column in _NAMES.items() if name in given}
        cells |= {column: options.flags[name] for name, column in _FLAGS.items() if name in options.flags}
        for name, column in _NAMES.items():
            if not cells.get(column):
                raise _LineError("cli-option", f"--{name} is missing.", column=column)
        if "update-image-set-metadata-updates" in given:
            cells["updates"] = _updates(content(cells["updates"]), content)
        return cells

    # -- the script as a whole

    def _check_written(self) -> None:
        """Refuse commands whose document the script itself writes, because it may not be written yet."""
        for path in self._written & self._documents.read.keys():
            text = "the script writes its document itself, and bulkedit does not run the script."
            hint = "Run the lines that write documents first, and delete them from the script."
            self.problems += [
                one(line, "cli-document", text, "updates", hint=hint) for line in self._documents.read[path]
            ]

    def _say(self) -> None:
        if self._passed_over:
            self._notice(
                "passed-over",
                "Lines with echo, sleep and set are left out.",
                "bulkedit paces the calls itself; `max_errors` says when a run stops.",
                self._passed_over,
            )
        if self._redirected:
            text = "The output of commands is not written to the files that the script names."
            self._notice("output-not-written", text, None, self._redirected)
        for name, count in self._not_used.items():
            text = f"--{name} of the commands is not used."
            self._notice("not-used", text, _INSTEAD.get(name), count)

    def _notice(self, code: str, text: str, hint: str | None, rows: int) -> None:
        self.notices.append(of_file(code, text, hint=hint, rows=rows))


_INSTEAD: Final = {
    "region": "Give the region to bulkedit: `region`, or the configuration of the AWS CLI.",
    "profile": "Give the profile to bulkedit: `profile`, or the configuration of the AWS CLI.",
    "endpoint-url": "Give the address to bulkedit: `endpoint_url`.",
}


def _check_readable(command: Command, name: str) -> None:
    """Raise EditListError for a word that makes the rest of the script mean something else."""
    where = f"line {command.line:,}"
    if name in _RESERVED:
        raise EditListError("it has a loop, a condition or a function.", where=where, hint=_ONE_BY_ONE)
    if name in _MEANING and not (name == "exit" and command.before == "||"):
        raise EditListError("a command changes what other lines of the script mean.", where=where, hint=_ONE_BY_ONE)
    if name == "set" and not all(_SET.fullmatch(word.text) or word.text in _SET_WORDS for word in command.words[1:]):
        raise EditListError(
            "a `set` changes what other lines of the script mean.", where=where, hint="Delete it, or use set -eu only."
        )


def _is_passed_over(command: Command, words: Sequence[Word]) -> bool:
    """Whether a line does nothing that matters: its output is not needed, and bulkedit paces calls itself."""
    if not words or {command.before, command.after} & {"|", "|&"} or command.after == "&":
        return False
    return words[0].text in _PASSED_OVER or (words[0].text == "exit" and command.before == "||")


def _check_is_aws(words: Sequence[Word]) -> None:
    if not words:
        raise _LineError("not-an-update", "the line only sets variables or writes a file.")
    name = words[0].text.rpartition("/")[2]
    if words[0].expands or name not in _AWS:
        raise _LineError("not-an-update", "the line is a command other than aws.")
    if expands := next((word.expands for word in words if word.expands), None):
        raise _LineError("shell-syntax", f"the command has {expands}.")
    if any(mark in word.bare for mark in _TYPOGRAPHIC for word in words):
        raise _LineError(
            "shell-syntax",
            "the command has typographic quotation marks or dashes, or blanks that do not break.",
            "A text program has replaced what the shell needs; write ', \" and -- again.",
        )


def _check_alone(command: Command) -> None:
    """Raise _LineError for a command that depends on another one."""
    joints = {command.before, command.after}
    if command.reads or joints & {"|", "|&"}:
        what = "is joined to another one, or reads its input from a file"
    elif command.before in {"&&", "||"}:
        what = "is run only if another one succeeds or fails"
    elif command.after == "&":
        what = "is run in the background, so its place in the order is open"
    else:
        return
    raise _LineError("shell-syntax", f"the command {what}.", "Write each command on a line of its own.")


def _stray(words: Sequence[str]) -> _LineError:
    """Return the error for words that are not options of update-image-set-metadata."""
    if any(not word.strip() for word in words):
        return _LineError(
            "shell-syntax",
            "a backslash has a blank behind it.",
            "The backslash must be the last character of its line.",
        )
    return _LineError("cli-option", "the command has a word that is not an option.", "Put values into quotes.")


def _another(words: Sequence[str]) -> _LineError:
    """Return the error for another command of the AWS CLI."""
    if tuple(words[:1]) != _COMMAND[:1]:
        return _LineError("not-an-update", "the command is of another service.")
    if words[1:2] in (["copy-image-set"], ["delete-image-set"]):
        return _LineError(
            "not-an-update",
            f"{words[1]} is not an edit.",
            "Run it with the AWS CLI. bulkedit copies and deletes only for UIDs of primary image sets: `via_copy`",
        )
    return _LineError("not-an-update", "it is another command of aws medical-imaging.")


class _Options:
    """The options of a command of the AWS CLI."""

    def __init__(self, words: Sequence[Word]) -> None:
        self.words: list[str] = []  # those that are not options
        self.values: dict[str, str] = {}
        self.flags: dict[str, str] = {}  # true or false, by the name without no-
        self.fault: _LineError | None = None  # the first
        texts = iter(word.text for word in words)
        for text in texts:
            if not text.startswith("--"):
                self.words.append(text)
                continue
            try:
                self._take(text[2:], texts)
            except _LineError as error:
                self.fault = self.fault or error

    def _take(self, text: str, texts: Iterator[str]) -> None:
        name, has_value, value = text.partition("=")
        if name in _VALUED:
            self._put(self.values, name, value if has_value else _next(name, texts))
        elif name in _ALL_FLAGS and not has_value:
            plain = name.removeprefix("no-")
            if plain in _FLAGS:
                self._put(self.flags, plain, "true" if name == plain else "false")
        else:
            raise _unknown(name)

    def _put(self, given: dict[str, str], name: str, value: str) -> None:
        if name in given:
            raise _LineError("cli-option", f"--{name} is given twice.")
        given[name] = value


def _next(name: str, texts: Iterator[str]) -> str:
    value = next(texts, None)
    if value is None or value.startswith("--"):
        raise _LineError("cli-option", f"--{name} has no value.")
    return value


def _unknown(name: str) -> _LineError:
    if name in _WITHOUT_CALL:
        return _LineError("cli-option", f"--{name} cannot be used in a list.", "Delete it, or the line.")
    if name in _ALL_FLAGS:
        return _LineError("cli-option", f"--{name} takes no value.")
    near = difflib.get_close_matches(name[:64], [*_VALUED, *_ALL_FLAGS], n=1, cutoff=0.8)
    return _LineError(
        "cli-option",
        "the command has an option that update-image-set-metadata does not have.",
        f"Did you mean --{near[0]}?" if near else None,
    )


def _from_json(text: str) -> dict[str, str]:
    """Return the cells of --cli-input-json."""
    try:
        found = strict_json(text)
    except ValueError as error:
        raise _LineError("not-json", f"the value of --{_INPUT} is not valid JSON: {error}.") from None
    if not isinstance(found, dict) or not found.keys() <= {*CLI_KEYS, *_JSON_FLAGS}:
        raise _LineError(
            "cli-option",
            f"the value of --{_INPUT} is not an object with the keys of update-image-set-metadata.",
            f"The keys are {', '.join(sorted({*CLI_KEYS, *_JSON_FLAGS}))}.",
        )
    cells: dict[str, str] = {}
    for key, value in found.items():
        if isinstance(value, bool) != (key in _JSON_FLAGS) or value is None:
            raise _LineError("cli-option", f"{key} in the value of --{_INPUT} has the wrong type.")
        cells[_JSON_FLAGS.get(key) or CLI_KEYS[key]] = value if isinstance(value, str) else json_text(value)
    return cells


def _updates(text: str, content: Callable[[str], str]) -> str:
    """Return the value of --update-image-set-metadata-updates as JSON text."""
    if text.lstrip().startswith(("{", "[")):
        return text  # the call form checks it
    found: JsonObject
    try:
        found = shorthand(text, content)
    except _LineError:
        raise
    except ValueError:
        raise _LineError(
            "updates",
            "the value of --update-image-set-metadata-updates is neither JSON nor the shorthand of the AWS CLI.",
            column="updates",
        ) from None
    return json_text(found)
