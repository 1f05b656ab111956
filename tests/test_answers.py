"""An answer that no request can get past is told once, with what to type; all other answers are no error."""

from __future__ import annotations

import pytest

from bulkedit.answers import systemic_error
from bulkedit.errors import AccessError, CredentialsError, UntrustedServerError
from bulkedit.outcome import Refusal, Refused

DENIED = AccessError("AWS denied access.")
SYSTEMIC = {
    Refusal.CREDENTIALS: CredentialsError,
    Refusal.UNTRUSTED: UntrustedServerError,
    Refusal.ACCESS_DENIED: AccessError,
}


@pytest.mark.parametrize("kind", Refusal, ids=str)
def test_a_refusal_is_systemic_or_no_error(kind: Refusal) -> None:
    found = systemic_error(Refused(kind, "Code", "words"), denied=DENIED)
    assert (found and type(found)) is SYSTEMIC.get(kind)


@pytest.mark.parametrize("kind", [Refusal.CREDENTIALS, Refusal.UNTRUSTED], ids=str)
def test_an_error_that_stops_a_run_ends_with_the_command_that_goes_on(kind: Refusal) -> None:
    # nothing follows the command, so that it can be copied
    found = systemic_error(Refused(kind, "Code"), denied=DENIED, in_run=True)
    assert str(found).endswith(", then go on with: bulkedit resume RUN")
    assert "resume" not in str(systemic_error(Refused(kind, "Code"), denied=DENIED))


def test_the_option_for_the_aws_profile_is_that_of_the_command() -> None:
    found = systemic_error(Refused(Refusal.CREDENTIALS, "Code"), denied=DENIED, profile_option="--aws-profile")
    assert str(found).endswith("or choose others with --aws-profile.")
