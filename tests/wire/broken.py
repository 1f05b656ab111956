"""Broken AWS configurations, and what is said of each. `docs/how-to.md` shows them."""

from __future__ import annotations

from bulkedit.client.unreached import CAUSES, FOREIGN, PASSWORD

ROLE = "role_arn = arn:aws:iam::123456789012:role/x\n"
SSO = "sso_start_url = https://h.awsapps.com/start\nsso_region = us-east-1\nsso_account_id = 1\nsso_role_name = e\n"
KEY = "[profile k]\naws_access_key_id = a\naws_secret_access_key = b\n"
SECRET = "CANARY-SECRET"  # in no message
# what is wrong -> (config file, profile, what is said); of the kind of the files that people have met
CONFIGS: dict[str, tuple[str, str | None, str]] = {
    "`credential_process` fails": (
        "[default]\ncredential_process = /bin/false\n",
        None,
        "/bin/false ended with code 1",
    ),
    "its program does not exist": (
        "[default]\ncredential_process = /nonexistent/helper\n",
        None,
        "/nonexistent/helper could not be started (No such file or directory)",
    ),
    "it prints text": (
        f"[default]\ncredential_process = /bin/echo {SECRET}\n",
        None,
        "printed something that is not JSON",
    ),
    "it prints nothing": ("[default]\ncredential_process = /bin/true\n", None, "printed nothing"),
    "its program is a folder": (
        "[default]\ncredential_process = /tmp\n",
        None,
        "could not be started (Permission denied)",
    ),
    "it is empty": ('[default]\ncredential_process = ""\n', None, "could not be started"),
    "it fails for the source of a role": (
        f"[profile r]\n{ROLE}source_profile = p\n[profile p]\ncredential_process = /bin/false\n",
        "r",
        "/bin/false ended with code 1",
    ),
    "a bracket of a section is missing": (
        "[default\nregion = us-east-1\n",
        None,
        "line 1 belongs to no section: a line such as [profile NAME], with both brackets, must come before it",
    ),
    "a section is there twice": (
        "[profile a]\nregion = a\n[profile a]\n",
        None,
        "line 3 begins a section for the second time",
    ),
    "a name is set twice in a section": (
        "[default]\nregion = a\nregion = b\n",
        None,
        "line 3 sets a name for the second time",
    ),
    "a line is neither a name with a value nor a section": (
        f"[default]\nregion = a\n{SECRET}\n",
        None,
        "line 3 is neither `name = value` nor a [section]",
    ),
    "the file begins with a byte order mark": (
        "\ufeff[default]\nregion = us-east-1\n",
        None,
        "the AWS configuration file begins with a byte order mark",
    ),
    "`source_profile` does not exist": (
        f"[profile r]\n{ROLE}source_profile = nobody\n",
        "r",
        'The source_profile "nobody" referenced in the profile "r" does not exist.',
    ),
    "`source_profile` leads back": (
        f"[profile a]\n{ROLE}source_profile = b\n[profile b]\n{ROLE}source_profile = a\n",
        "a",
        "the chain of source_profile comes back to itself: a > b > a",
    ),
    "a role without a source": (
        f"[profile r]\n{ROLE}",
        "r",
        "the credentials are not complete: source_profile or credential_source is missing",
    ),
    "a role with two sources": (
        f"[profile r]\n{ROLE}source_profile = r\ncredential_source = Environment\n",
        "r",
        'The profile "r" contains both source_profile and credential_source',
    ),
    "`credential_source` is not known": (
        f"[profile r]\n{ROLE}credential_source = Sky\n",
        "r",
        'The credential source "Sky" referenced in profile "r" is not valid',
    ),
    "the source of a role has no keys": (
        f"[profile r]\n{ROLE}source_profile = p\n[profile p]\nregion = a\n",
        "r",
        'The source profile "p" must have credentials.',
    ),
    "the secret key is missing": (
        f"[profile k]\naws_access_key_id = {SECRET}\n",
        "k",
        "the credentials are not complete: aws_secret_access_key is missing",
    ),
    "`mfa_serial`": (
        f"[profile r]\n{ROLE}source_profile = k\nmfa_serial = arn:aws:iam::1:mfa/x\n{KEY}",
        "r",
        "the profile asks for a code of an MFA device",
    ),
    "the web identity token does not exist": (
        f"[profile w]\n{ROLE}web_identity_token_file = /nonexistent/token\n",
        "w",
        "/nonexistent/token: a file that credentials come from cannot be read (No such file or directory)",
    ),
    "no sign-in (SSO)": (f"[profile s]\n{SSO}", "s", "the sign-in of profile s is missing or has expired"),
    "`sso_session` does not exist": (
        "[profile s]\nsso_session = x\nsso_account_id = 1\nsso_role_name = e\n",
        "s",
        'The specified sso-session does not exist: "x"',
    ),
    "`login_session`": (
        "[profile l]\nlogin_session = arn:aws:iam::1:user/x\n",
        "l",
        "Profile l has `login_session`, which the SDK here cannot read",
    ),
    "quotation marks around a key": (
        '[profile q]\naws_access_key_id = "a"\naws_secret_access_key = b\n',
        "q",
        "a quotation mark",
    ),
    "a key that is not ASCII": (
        "[profile q]\naws_access_key_id = a\naws_secret_access_key = ß\n",
        "q",
        "the secret key has a character that is not ASCII in it",
    ),
}


def configurations() -> str:
    """The table of broken configurations for the documentation."""
    lines = ["| in the AWS configuration | the message says |", "|---|---|"]
    lines += [f"| {name} | {words.removesuffix('.')} |" for name, (_, _, words) in CONFIGS.items()]
    return "\n".join(lines)


def causes() -> str:
    """The table of the causes of lost answers for the documentation."""
    shown = {**CAUSES, "HTTP 407 without an error type": PASSWORD, "HTTP 403 without an error type": FOREIGN}
    lines = ["| cause | what is said | what to type |", "|---|---|---|"]
    for cause, (likely, hint) in shown.items():
        words = likely.format(proxy="URL", sender="the proxy URL")
        lines.append(f"| `{cause}` | {words} | {hint or 'nothing: it is sent again'} |")
    return "\n".join(lines)
