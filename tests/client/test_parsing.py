"""An answer that no request can get past is told once, with what to type; all other answers are no error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from bulkedit.client.parsing import (
    WRONG_SHAPE,
    copied_of,
    datastore_of,
    found_of,
    image_set_of,
    refusal_of,
    systemic_error,
)
from bulkedit.client.responses import Refusal, Refused
from bulkedit.errors import AccessError, CredentialsError, UntrustedServerError

if TYPE_CHECKING:
    from collections.abc import Callable

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
    assert str(found).endswith(", then continue with: bulkedit resume RUN")
    assert "resume" not in str(systemic_error(Refused(kind, "Code"), denied=DENIED))


def test_other_credentials_are_chosen_with_an_option_and_not_with_a_flag() -> None:
    found = systemic_error(Refused(Refusal.CREDENTIALS, "Code"), denied=DENIED)
    assert str(found).endswith("or use another profile: `profile=NAME`")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 30.0),
        (" 30 ", 30.0),
        ("0.5", 0.5),
        ("1000000000", 1e9),
        ("9" * 5_000, math.inf),
        ("Fri, 01 Jan 2027 00:01:00 GMT", 60.0),
        ("Thu, 31 Dec 2026 23:00:00 GMT", 0.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 251_603_539_199.0),
        ("Fri, 01 Jan 99999 00:00:00 GMT", None),
        ("Fri, ² Jan 2027 00:00:00 GMT", None),
        ("Fri, 01 Jan 2027 00:00:00", None),
        ("²", None),
        ("٣", None),
        ("-30", None),
        ("NaN", None),
        ("inf", None),
        ("1e9", None),
        ("soon", None),
        ("", None),
    ],
)
def test_the_wait_of_an_answer_is_read_as_the_standard_has_it(text: str, seconds: float | None) -> None:
    """RFC 9110, section 10.2.3: a number of seconds, or a date, here beside that of the answer."""
    headers = {"x-amzn-errortype": "ThrottlingException", "retry-after": text, "date": "Fri, 01 Jan 2027 00:00:00 GMT"}
    found = refusal_of(
        {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 429, "HTTPHeaders": headers}}
    )
    assert isinstance(found, Refused)
    assert found.retry_after_s == seconds


def test_a_date_is_no_wait_if_the_answer_has_none_itself() -> None:
    headers = {"x-amzn-errortype": "ThrottlingException", "retry-after": "Fri, 01 Jan 2027 00:01:00 GMT"}
    found = refusal_of(
        {"Error": {"Code": "ThrottlingException"}, "ResponseMetadata": {"HTTPStatusCode": 429, "HTTPHeaders": headers}}
    )
    assert isinstance(found, Refused)
    assert found.retry_after_s is None


def test_what_is_no_id_of_an_image_set_is_no_answer() -> None:
    """Ids are shown and kept, so a text in their place could be a value."""
    for text in ("DOE^JANE", "0" * 31, "A" * 32, ""):
        with pytest.raises(ValueError):  # noqa: PT011 - as `WRONG_SHAPE` has it
            copied_of({"destinationImageSetProperties": {"imageSetId": text, "latestVersionId": "1"}})
        with pytest.raises(ValueError):  # noqa: PT011
            found_of({"imageSetsMetadataSummaries": [{"imageSetId": "0" * 32}, {"imageSetId": text}]})


@pytest.mark.parametrize(("status", "kept"), [("ACTIVE", "ACTIVE"), ("DELETING", "DELETING"), ("DOE^JANE", "…")])
def test_the_status_of_a_data_store_is_one_of_the_model(status: str, kept: str) -> None:
    answer = {"datastoreProperties": {"datastoreId": "0" * 32, "datastoreStatus": status}}
    assert datastore_of(answer).status == kept


@pytest.mark.parametrize(
    ("parse", "answer"),
    [
        (copied_of, {"destinationImageSetProperties": "no object"}),
        (found_of, {"imageSetsMetadataSummaries": {}}),
        (found_of, {"imageSetsMetadataSummaries": ["no object"]}),
        (image_set_of, {"imageSetId": "0" * 32, "versionId": "1", "imageSetState": "ACTIVE", "updatedAt": "no date"}),
    ],
)
def test_a_value_of_the_wrong_type_has_the_wrong_shape(parse: Callable[[Any], object], answer: dict[str, Any]) -> None:
    with pytest.raises(WRONG_SHAPE) as caught:
        parse(answer)
    assert caught.type is TypeError


def test_why_there_are_no_credentials_is_told_with_the_command_that_continues() -> None:
    why = CredentialsError("STS said no.", where="config, profile r", likely="Trust.", hint="Ask the owner.")
    refused = Refused(Refusal.CREDENTIALS, "AccessDenied", error=why)
    error = systemic_error(refused, denied=AccessError(), in_run=True)
    assert isinstance(error, CredentialsError)
    assert str(error).splitlines() == [
        "config, profile r: STS said no.",
        "Trust.",
        "Ask the owner, then continue with: bulkedit resume RUN",
    ]


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("InvalidSignatureException", "clock"),
        ("RequestTimeTooSkewed", "timedatectl"),
        ("UnrecognizedClientException", "does not know the access key"),
        ("ExpiredToken", "aws sso login"),
    ],
)
def test_a_refusal_of_credentials_is_told_by_its_code(code: str, words: str) -> None:
    error = systemic_error(Refused(Refusal.CREDENTIALS, code), denied=AccessError())
    assert words in str(error)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("certificate file ca.pem: No such file or directory", "AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE"),
        ("certificate file ca.pem: NO_CERTIFICATE_OR_CRL_FOUND", "-----BEGIN CERTIFICATE-----"),
        ("certificate file a.key: the key is encrypted", "without a password"),
        ("h: certificate has expired", "timedatectl"),
        ("h: certificate is not yet valid", "timedatectl"),
        ("h: Hostname mismatch, certificate is not valid for 'h'", "belongs to another server"),
        ("h: self-signed certificate in certificate chain", "AWS_CA_BUNDLE to the PEM file"),
        ("h: unable to get local issuer certificate", "does not have the CA of this server"),
        ("h: something new", "A proxy inspects TLS"),
    ],
)
def test_a_certificate_that_is_not_trusted_is_told_by_the_reason(code: str, words: str) -> None:
    error = systemic_error(Refused(Refusal.UNTRUSTED, code), denied=DENIED, in_run=True)
    assert isinstance(error, UntrustedServerError)
    assert words in f"{error.likely} {error.hint}"
    assert code in error.what
    assert error.hint is not None
    assert error.hint.endswith("bulkedit resume RUN")
