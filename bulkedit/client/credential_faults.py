"""Says why there are no credentials: from the errors that the SDK raises to what is wrong, where, and what to type.

The SDK's texts can quote secrets, so only those that name settings and profiles are used. Pure, but for a look at the
AWS configuration files.
"""

from __future__ import annotations

import configparser
import os
import re
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from botocore import exceptions as boto
from botocore.exceptions import ClientError

from bulkedit._printable import printable
from bulkedit.client.credential_process import ProcessFailedError
from bulkedit.client.parsing import THROTTLES, untrusted
from bulkedit.client.responses import Lost, Refusal, Refused
from bulkedit.client.service_messages import code_without_values
from bulkedit.client.transport import PlainHttpError, UnverifiedError
from bulkedit.client.unreached import NEVER_REACHED, words_of
from bulkedit.errors import BulkeditError, CredentialsError, UntrustedServerError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

TRY_CREDENTIALS: Final = "Renew them (for example: aws sso login). To try them: aws sts get-caller-identity"
_OTHER_PROFILE: Final = "Correct it, or name another profile: `profile=NAME`"
_FILES: Final = {"AWS_CONFIG_FILE": "~/.aws/config", "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials"}
_NUMBERS: Final = ("AWS_MAX_ATTEMPTS", "AWS_METADATA_SERVICE_NUM_ATTEMPTS", "AWS_METADATA_SERVICE_TIMEOUT")
_BOM: Final = b"\xef\xbb\xbf"
# error code of STS, SSO or HealthImaging about credentials -> (why likely, what to type)
_CODES: Final = {
    "AccessDenied": (
        "The trust policy of the role does not name these credentials, or they lack sts:AssumeRole.",
        "Compare the role's trust policy with: aws sts get-caller-identity",
    ),
    "ExpiredToken": ("The credentials that ask for the role have expired.", TRY_CREDENTIALS),
    "ExpiredTokenException": ("The credentials have expired.", TRY_CREDENTIALS),
    "InvalidClientTokenId": (
        "AWS does not know the access key: it was deleted, or belongs to another partition.",
        TRY_CREDENTIALS,
    ),
    "SignatureDoesNotMatch": (
        "The secret key does not belong to the access key, or has a character too many.",
        "Set both keys again. To try them: aws sts get-caller-identity",
    ),
    "Throttling": ("STS has received too many requests of this account.", "Try again in a minute"),
    "UnauthorizedException": ("The sign-in has expired.", "Sign in again: aws sso login"),
    "ForbiddenException": ("This user may not use that role of the SSO profile.", _OTHER_PROFILE),
    "RegionDisabledException": ("STS is not active in this region.", "Activate it, or set AWS_STS_REGIONAL_ENDPOINTS"),
    "IDPCommunicationError": ("AWS cannot reach the identity provider.", "Try again in a minute"),
    "InvalidIdentityToken": ("The web identity token is not valid for this role.", "Renew the token"),
}
_CODES["UnrecognizedClientException"] = _CODES["InvalidClientTokenId"]
_CODES["InvalidSignatureException"] = _CODES["SignatureDoesNotMatch"]
_OTHER_CODE: Final = ("They have expired, or belong to another account.", TRY_CREDENTIALS)
# whitespace, control characters, quotes, and what is not ASCII: in no key, and a header cannot hold some of them
_BAD_CHARACTER: Final = re.compile(r"[^!-~]|[\"'`]")


class MfaNeededError(boto.BotoCoreError):
    """The profile needs a code of a device, which the SDK would ask for on the terminal."""


class AwsSettings(NamedTuple):
    """The user's AWS settings: which profile, and the paths of the two files."""

    profile: str
    config_file: str
    credentials_file: str


def settings_of(profile: str | None, environment: Mapping[str, str] = os.environ) -> AwsSettings:
    """The settings as botocore finds them. ``profile``: that of the option."""
    named = profile or environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE") or "default"
    files = (environment.get(name) or usual for name, usual in _FILES.items())
    return AwsSettings(named, *(str(Path(path).expanduser()) for path in files))


def error_code_of(error: BaseException) -> str:
    """The error code of an AWS service; otherwise the type of the error."""
    if not isinstance(error, ClientError):
        return type(error).__name__
    meta = error.response.get("ResponseMetadata", {})
    return code_without_values(str(error.response.get("Error", {}).get("Code", "")), int(meta.get("HTTPStatusCode", 0)))


def is_transient(error: BaseException) -> bool:
    """Whether the source of credentials has a fault that may pass; not if a setting is probably wrong."""
    if isinstance(error, ClientError):
        status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        return status >= HTTPStatus.INTERNAL_SERVER_ERROR or error_code_of(error) in THROTTLES
    if isinstance(error, UnverifiedError | PlainHttpError) or type(error).__name__ in NEVER_REACHED:
        return False
    return isinstance(error, boto.ConnectionError | boto.HTTPClientError)


def words_of_code(code: str) -> tuple[str, str]:
    """Why likely, and what to type, for a code that refuses credentials."""
    return _CODES.get(code, _OTHER_CODE)


def check_files(environment: Mapping[str, str] = os.environ) -> None:
    """Raises CredentialsError if a variable names a configuration file that cannot be read: the SDK ignores it."""
    for name in _FILES:
        if (path := environment.get(name)) and (problem := _unreadable(path)):
            raise CredentialsError(
                f"the file that {name} names {problem}.", where=path, hint=f"Correct {name}, or the file's permissions."
            )


def _unreadable(path: str) -> str | None:
    place = Path(path).expanduser()
    if place.is_dir():
        return "is a folder"
    try:
        place.open("rb").close()
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None


def check_keys(access_key: str, secret_key: str, token: str | None, method: str) -> None:
    """Raises CredentialsError for a key with a character that no key has. ``method``: the SDK's name of its source."""
    for name, text in (("access key", access_key), ("secret key", secret_key), ("session token", token or "")):
        if (found := _BAD_CHARACTER.search(text)) is None:
            continue
        character = {"\n": "a line break", "\r": "a line break", " ": "a blank", "\t": "a tab"}.get(found[0])
        quote = "a quotation mark" if found[0] in "\"'`" else "a character that is not ASCII"
        raise CredentialsError(
            f"the {name} has {character or quote} in it.",
            where=_source(name, method),
            likely="It was copied with its surroundings, or read from a file with its line end.",
            hint="Set it again. To try it: aws sts get-caller-identity",
        )


def _source(name: str, method: str) -> str:
    variable = {"access key": "AWS_ACCESS_KEY_ID", "secret key": "AWS_SECRET_ACCESS_KEY"}.get(name, "AWS_SESSION_TOKEN")
    sources = {"env": f"environment variable {variable}", "custom-process": "credential_process"}
    return sources.get(method, f"AWS credentials ({method})")


def setting_fault(error: Exception, settings: AwsSettings) -> BulkeditError:
    """The error for a setting that the SDK does not accept."""
    if isinstance(error, boto.ProfileNotFound):
        return UsageError(
            f"the AWS profile does not exist: {printable(settings.profile)}.",
            where=f"{settings.config_file}, {settings.credentials_file}",
            likely=_missing_file(settings),
            hint="List the profiles that exist: aws configure list-profiles",
        )
    if isinstance(error, boto.NoRegionError):
        return UsageError(
            "no AWS region is set.", hint="Give one, for example: --region us-east-1 (or set AWS_REGION)."
        )
    if isinstance(error, boto.InvalidRegionError):
        return UsageError("the name of the AWS region is not valid.", hint="Write it like this: us-east-1")
    if isinstance(error, boto.ConfigParseError | boto.InvalidConfigError):
        return credential_fault(error, settings)
    return _wrong_number(error) or UsageError(
        f"the AWS SDK does not accept one of its settings ({type(error).__name__}).",
        likely=f"A variable AWS_…, or profile {printable(settings.profile)} of {settings.config_file}, has a value "
        "that the SDK does not know.",
        hint="Compare them with the SDK's reference of settings, or remove them.",
    )


def _wrong_number(error: BaseException) -> UsageError | None:
    """The error for a variable that must be a number, if one is not."""
    wrong = [name for name in _NUMBERS if not re.fullmatch(r"\d*", os.environ.get(name, ""))]
    if not isinstance(error, ValueError) or not wrong:
        return None
    return UsageError(
        f"{wrong[0]} is not a whole number.",
        where=f"environment variable {wrong[0]}",
        likely=f"The AWS SDK does not accept one of its settings ({type(error).__name__}).",
        hint=f"Set it to a number, or remove it: unset {wrong[0]}",
    )


def _missing_file(settings: AwsSettings) -> str | None:
    missing = [
        f"{name} names a file that does not exist."
        for name, path in zip(_FILES, (settings.config_file, settings.credentials_file), strict=True)
        if os.environ.get(name) and not Path(path).exists()
    ]
    return " ".join(missing) or None


def no_credentials(settings: AwsSettings) -> CredentialsError:
    """The error if no source has credentials."""
    unreadable = [path for path in settings[1:] if _unreadable(path)]
    likely = f"The environment, profile {printable(settings.profile)} and the instance role have none."
    if unreadable:
        likely = f"{unreadable[0]} {_unreadable(unreadable[0])}."
    elif _has_login(settings):
        likely = f"Profile {printable(settings.profile)} has `login_session`, which the SDK here cannot read."
    return CredentialsError(
        "no AWS credentials were found.",
        likely=" ".join(filter(None, (likely, _missing_file(settings)))),
        hint=_export(settings.profile)
        if _has_login(settings)
        else "Give `profile=NAME`, run `aws configure` or `aws sso login`, or set AWS_ACCESS_KEY_ID and "
        "AWS_SECRET_ACCESS_KEY. For a local emulator, any two values will do.",
    )


def _has_login(settings: AwsSettings) -> bool:
    """Whether the profile is one of `aws login`."""
    parser = configparser.RawConfigParser(default_section="", strict=False)
    try:
        parser.read(settings.config_file, "utf-8")
    except (configparser.Error, ValueError):
        return False
    section = "default" if settings.profile == "default" else f"profile {settings.profile}"
    return parser.has_option(section, "login_session")


def _export(profile: str) -> str:
    words = f"aws configure export-credentials --profile {profile} --format env"
    return f'Put credentials into the environment: eval "$({words})"'


def credential_fault(error: BaseException, settings: AwsSettings) -> BulkeditError:
    """The error for a failure to get credentials."""
    if isinstance(error, UnverifiedError):
        return untrusted_fault(error)
    if isinstance(error, PlainHttpError):
        return UsageError(
            f"credentials would come from another machine over http, which is not encrypted: {error.host}.",
            likely="AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_STS or the profile sets this endpoint.",
            hint="Use https. If only you use the network, such as one between containers: --allow-http",
        )
    if isinstance(error, boto.ConfigParseError):
        return _unparsed(error)
    if (wrong := _wrong_number(error)) is not None:
        return wrong
    if isinstance(error, ClientError):
        likely, hint = words_of_code(code := error_code_of(error))
        return CredentialsError(
            f"AWS did not give credentials for profile {printable(settings.profile)}: {error.operation_name} ({code}).",
            likely=likely,
            hint=hint,
        )
    text, why, todo = _words(error, settings)
    return CredentialsError(text, where=_place(error, settings), likely=why, hint=todo or TRY_CREDENTIALS)


def untrusted_fault(error: UnverifiedError) -> UntrustedServerError:
    """The error for a server whose certificate could not be verified."""
    return untrusted(Refused(Refusal.UNTRUSTED, error.what))


def _place(error: BaseException, settings: AwsSettings) -> str | None:
    if isinstance(error, OSError):
        return str(error.filename) if error.filename else None
    if isinstance(error, ProcessFailedError | boto.InvalidConfigError | boto.PartialCredentialsError | MfaNeededError):
        return f"{settings.config_file}, profile {printable(settings.profile)}"
    return None


def _words(  # noqa: C901, PLR0911 - a table
    error: BaseException, settings: AwsSettings
) -> tuple[str, str | None, str | None]:
    """What is wrong, why likely, and what to type."""
    profile, kind = printable(settings.profile), type(error).__name__
    match error:
        case ProcessFailedError():
            program = f" {printable(error.program)}" if error.program else ""
            return (
                f"the program of credential_process{program} {error.what}.",
                None,
                "Run its command in a terminal to see what it says, or name another profile: `profile=NAME`",
            )
        case MfaNeededError():
            return (
                "the profile asks for a code of an MFA device (mfa_serial).",
                "A run that takes hours cannot ask for codes.",
                _export(settings.profile),
            )
        case boto.InfiniteLoopConfigError():
            visited = [*error.kwargs.get("visited_profiles", []), error.kwargs.get("source_profile")]
            names = " > ".join(printable(str(name)) for name in visited)
            return f"the chain of source_profile comes back to itself: {names}.", None, _OTHER_PROFILE
        case boto.InvalidConfigError():
            return f"the profile cannot be used: {printable(str(error))}", None, _OTHER_PROFILE
        case boto.PartialCredentialsError():
            missing = printable(str(error.kwargs.get("cred_var", "a key")))
            return (
                f"the credentials are not complete: {missing} is missing ({kind}).",
                None,
                "Set it, or remove the rest.",
            )
        case boto.UnknownCredentialError():
            return f"credential_source of profile {profile} is not known to the SDK.", None, _OTHER_PROFILE
        case boto.SSOError() | boto.UnauthorizedSSOTokenError() | boto.TokenRetrievalError():
            return (
                f"the sign-in of profile {profile} is missing or has expired ({kind}).",
                None,
                f"Sign in: aws sso login --profile {profile}",
            )
        case boto.CredentialRetrievalError() | boto.MetadataRetrievalError():
            return (
                f"the source of credentials of profile {profile} gives none ({kind}).",
                "The endpoint of the container or the instance does not answer, or has no role.",
                None,
            )
        case boto.ConnectionError() | boto.HTTPClientError():
            likely, hint = words_of(Lost(kind))
            hint = hint and hint.replace(
                "`endpoint_url` and `region`", "AWS_ENDPOINT_URL, AWS_ENDPOINT_URL_STS and `region`"
            )
            url = error.kwargs.get("endpoint_url") or "the source of credentials"
            return f"no credentials: {url} cannot be reached ({kind}).", likely, hint or "Try again later"
        case OSError():
            return f"a file that credentials come from cannot be read ({error.strerror or kind}).", None, _OTHER_PROFILE
        case RuntimeError():
            return (
                "the new credentials have expired already.",
                "Their source gives old ones, or this machine's clock is wrong.",
                None,
            )
        case _:
            likely = f"Profile {profile} of {settings.config_file}, or a variable AWS_…, has a value of another form."
            return f"the AWS credentials could not be read ({kind}).", likely, None


def _unparsed(error: boto.ConfigParseError) -> CredentialsError:
    """The error for a configuration file that the SDK cannot parse. Never quotes a line, which can be a secret."""
    path, cause = str(error.kwargs.get("path", "")), error.kwargs.get("error")
    errors: list[tuple[int, str]] = getattr(cause, "errors", [])
    line = errors[0][0] if errors else getattr(cause, "lineno", None)
    what = {
        configparser.MissingSectionHeaderError: "belongs to no section: a line such as [profile NAME], with both "
        "brackets, must come before it",
        configparser.DuplicateSectionError: "begins a section for the second time",
        configparser.DuplicateOptionError: "sets a name for the second time in its section",
    }.get(type(cause), "is neither `name = value` nor a [section]")
    problem = f"the AWS configuration file cannot be read: line {line} {what}."
    if line is None:
        problem = f"the AWS configuration file cannot be read ({type(cause).__name__})."
    if _begins_with_mark(path):
        problem = "the AWS configuration file begins with a byte order mark, which the SDK does not read."
    return CredentialsError(problem, where=path, hint="Correct the file (UTF-8, without a byte order mark).")


def _begins_with_mark(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(len(_BOM)) == _BOM
    except OSError:
        return False
