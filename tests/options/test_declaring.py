"""An option is declared once, as the field of a dataclass: what is read of it, and what it refuses."""

from __future__ import annotations

from dataclasses import MISSING
from typing import get_args

import pytest

from bulkedit.cli._parameters import TAKEN, ApplyCommand, PlanCommand
from bulkedit.dicom.dictionary import RULES
from bulkedit.edits.files import FORMATS
from bulkedit.errors import UsageError, worded
from bulkedit.options.declaring import Argument, Option, all_declared, declared, made
from bulkedit.options.listing import ListFormat, ListOptions
from bulkedit.options.running import Halt, OnConflict, RunOptions
from bulkedit.options.shared import ServiceVersion

APPLY = all_declared(ApplyCommand)


def test_a_name_that_parts_share_is_one_option() -> None:
    both = [one for kind in (ListOptions, RunOptions) for one in declared(kind) if one.name == "read_rate"]
    assert len(both) == 2
    made_ = made(ApplyCommand, {**{name: one.default for name, one in APPLY.items()}, "read_rate": "7/s"})
    assert (made_.listing.read_rate, made_.running.read_rate) == ("7/s", "7/s")


@pytest.mark.parametrize("kind", TAKEN.values(), ids=list(TAKEN))
def test_options_of_one_name_are_declared_alike_in_all_commands(kind: type) -> None:
    for name, one in all_declared(kind).items():
        other = APPLY.get(name, one)
        both = (one.declaration, other.declaration)
        if all(isinstance(declaration, Option) for declaration in both) and one.variables == other.variables:
            assert (one.kind, one.flags, both[0].unit) == (other.kind, other.flags, both[1].unit)


def test_names_follow_from_the_field_unless_others_are_given() -> None:
    rate, profile = APPLY["max_rate"], APPLY["profile"]
    assert (rate.flags, rate.variables, rate.key) == (("--max-rate",), ["BULKEDIT_MAX_RATE"], "max_rate")
    assert profile.flags == ("--aws-profile", "--profile")
    assert (profile.variables, profile.key) == (["BULKEDIT_AWS_PROFILE", "BULKEDIT_PROFILE"], "aws_profile")


def test_choices_are_those_of_the_type() -> None:
    assert (APPLY["on_conflict"].choices, APPLY["on_conflict"].unit) == (("retry", "stop"), "retry|stop")
    assert (APPLY["empty"].choices, APPLY["rate"].choices) == (("keep", "null", "remove"), ())
    assert (set(get_args(ServiceVersion)), set(get_args(ListFormat))) == (set(RULES), set(FORMATS))


def test_what_has_to_be_given_has_no_default() -> None:
    assert all_declared(PlanCommand)["edits"].default is MISSING


def test_words_become_those_of_the_enum() -> None:
    options = RunOptions(on_conflict="stop", halt="now")  # type: ignore[arg-type]
    assert (options.on_conflict, options.halt) == (OnConflict.STOP, Halt.NOW)
    assert options.as_settings()["halt"] == "now"
    assert type(options.as_settings()["halt"]) is str


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("workers", 0, "must be at least 1"),
        ("workers", 1001, "must be at most 1000"),
        ("retry_for", float("nan"), "must be at least 0"),
        ("empty", "nothing", "must be keep, null or remove"),
        ("rate", "fast", None),
        ("burst", 1.5, None),
    ],
)
def test_what_is_wrong_with_a_value_is_said_without_it(name: str, value: object, problem: str | None) -> None:
    assert APPLY[name].problem(value) == problem


def test_an_error_names_the_field() -> None:
    with pytest.raises(UsageError, match=r"^`payload_limit` must be at least 100\.$"):
        ListOptions(payload_limit=99)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("leave `study_wide` out", "leave --study-wide out"),
        ("newer: `service_version=2026`", "newer: --service-version 2026"),
        ("to agree: `via_copy=True`", "to agree: --via-copy"),
        ("`bulkedit plan` and `other=1`", "`bulkedit plan` and `other=1`"),
    ],
)
def test_texts_for_the_library_are_worded_as_flags(text: str, told: str) -> None:
    flags = {name: one.flags[0] for name, one in APPLY.items()}
    assert worded(text, flags) == told


def test_an_argument_has_no_environment_variable() -> None:
    arguments = [
        one for kind in TAKEN.values() for one in all_declared(kind).values() if isinstance(one.declaration, Argument)
    ]
    assert arguments
    assert not any(one.variables for one in arguments)
