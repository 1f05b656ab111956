"""An error says what, where, why likely, and what to type."""

from __future__ import annotations

import pytest

from bulkedit.errors import EXIT_USAGE, UsageError, worded


def test_the_parts_of_an_error_are_its_text_in_order() -> None:
    error = UsageError("it cannot be read.", where="a\x1b[2J.csv", likely="It is damaged.", hint="Export it again.")
    assert str(error) == "a\\x1b[2J.csv: it cannot be read.\nIt is damaged.\nExport it again."
    assert error.exit_code == EXIT_USAGE


def test_an_error_without_words_says_what_its_class_says() -> None:
    assert str(UsageError()) == UsageError.__doc__


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("Give `via_copy`.", "Give --via-copy."),
        ("`service_version=2026`", "--service-version 2026"),
        ("`via_copy=True`", "--via-copy"),
        ("`other`, `RunOptions`", "`other`, `RunOptions`"),
    ],
)
def test_the_command_line_words_fields_as_flags(text: str, told: str) -> None:
    assert worded(text, {"via_copy": "--via-copy", "service_version": "--service-version"}) == told
