"""Of what the service says, only documented codes, words of known messages and attribute keywords are kept."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Final

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bulkedit.client.service_messages import CODES, code_without_values, message_without_values
from tests.test_layers import PACKAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

_FAILURES: Final = {"Invalid", "Denied", "NotFound", "Conflict", "QuotaExceeded", "Throttled", "Broken"}
# what the emulator says of itself, or to a client that is not bulkedit
_OTHER_MODULES: Final = {"control", "importing", "stores", "tagging", "server"}


def emulated() -> Iterator[str]:
    """The messages in the emulator's code, with `…` for what is filled in."""
    for path in sorted((PACKAGE / "emulator").rglob("*.py")):
        if path.stem in _OTHER_MODULES:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FAILURES:
                yield from (text for argument in node.args if " " in (text := _text(argument)))


def _text(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    if isinstance(node, ast.BinOp):
        return _text(node.left) + _text(node.right)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


MESSAGES: Final = sorted(set(emulated()))


def test_the_emulators_messages_were_found() -> None:
    assert len(MESSAGES) > 40


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_of_the_emulator_is_kept(message: str) -> None:
    kept = [word for word in message_without_values(message).split() if word != "…"]
    assert kept == [word for word in message.split() if "…" not in word and not any(map(str.isdigit, word))]


@pytest.mark.parametrize("service", ["medical-imaging", "sts", "sso", "sso-oidc"])
def test_every_error_code_of_the_models_is_known(service: str) -> None:
    model = botocore.session.get_session().get_service_model(service)
    errors = [model.shape_for(name) for name in model.shape_names if model.shape_for(name).metadata.get("exception")]
    assert errors
    assert {error.metadata.get("error", {}).get("code", error.name) for error in errors} <= CODES


@pytest.mark.parametrize("code", ["DOE^JANE", "ValidationException: DOE", "", "validationexception"])
def test_another_code_is_the_http_status(code: str) -> None:
    assert code_without_values(code, 400) == "HTTP 400"


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ("PatientName DOE^JANE does not match", "PatientName … does not match"),
        ("The value of 'PatientName' does not fit VR PN", "The value of 'PatientName' does not fit VR PN"),
        ("patientname PATIENTNAME", "…"),
        ("is PatientName=DOE the latest", "is … the latest"),
        ("DEADBEEF FACEB00C", "…"),  # eight hexadecimal digits are a private element, or anything
        ("at Study.DICOM.StudyDate: 19660101", "at Study.DICOM.StudyDate: …"),
        ("is\x1b[2Jnot\u202e the\x85latest", "… the latest"),
        (
            "User: arn:aws:sts::1:assumed-role/r is not authorized to perform: medical-imaging:CopyImageSet on arn:x",
            "User: … is not authorized to perform: medical-imaging:CopyImageSet on …",
        ),
    ],
)
def test_of_a_message_the_known_words_are_kept(message: str, kept: str) -> None:
    assert message_without_values(message) == kept


@given(st.text(st.characters(exclude_categories=("Ll", "Lu", "Lt", "Lo", "Lm")), min_size=1))
def test_what_has_no_letter_is_hidden_but_for_punctuation(text: str) -> None:
    assert set(message_without_values(text)) <= set("… -'\"`().,:;/!?_")


def test_a_long_message_is_cut() -> None:
    assert len(message_without_values("latest " * 1_000_000)) <= 2048
