"""Private names of other libraries that bulkedit enters: each is written down, is there, and has an upper bound.

docs/decisions/0012-private-names.md says what each is for.
"""

from __future__ import annotations

import inspect
import pkgutil
import re
import tomllib
from datetime import UTC, datetime
from importlib import metadata
from typing import TYPE_CHECKING

import pytest
from aiobotocore.credentials import AioRefreshableCredentials
from aiobotocore.httpsession import AIOHTTPSession
from aiobotocore.session import AioSession
from packaging.requirements import Requirement
from packaging.version import Version
from typer import rich_utils

from bulkedit.client.aws_session import open_session
from bulkedit.client.contract import Connection
from tests.generated import ROOT
from tests.test_layers import MODULES, imports

if TYPE_CHECKING:
    from pathlib import Path

RECORD = (ROOT / "docs/decisions/0012-private-names.md").read_text("utf-8")
# by the requirement whose bound keeps them; those of aiobotocore are kept by aioboto3, which requires one version of it
IMPORTED = {
    "pydicom": {"pydicom.datadict.DicomDictionary"},
    "typer": {
        "typer._click.core.Command",
        "typer._click.core.Context",
        "typer._click.formatting.HelpFormatter",
    },
}
ENTERED = {
    "aioboto3": {
        "_fetcher",
        "_role_fetcher",
        "_session",
        "_timeout",
        "_request_signer",
        "_credentials",
        "_popen",
        "_prompter",
        "_profile_provider_builder",
        "_time_fetcher",
        "_expiry_time",
    },
    "typer": {"rich_utils.Console", "rich_utils.COLOR_SYSTEM"},
}
BOUNDED = sorted({*IMPORTED, *ENTERED})
SILENCED = {  # modules that may silence ruff's rule against private attributes, and the attributes
    "client.aws": {"_request_signer", "_credentials", "_session"},
    "client.aws_session": {"_session", "_popen", "_prompter", "_profile_provider_builder"},
    "client.lasting_credentials": {"_time_fetcher"},
}


def private_imports(path: Path) -> set[str]:
    """Names of other libraries that a module imports, and that have an underscore before a part."""
    foreign = {name for name in imports(path) if not name.startswith("bulkedit")}
    return {name for name in foreign if re.search(r"(^|\.)_(?!_)", name)}


def test_private_modules_are_imported_only_as_written_down() -> None:
    found = {name for path in MODULES.values() for name in private_imports(path)}
    assert found == {name for names in IMPORTED.values() for name in names if "._" in name}


def silenced(path: Path) -> set[str]:
    """The private attributes of the lines that silence the rule, but for what a name begins with: `self._session`."""
    lines = [line for line in path.read_text("utf-8").splitlines() if "noqa: SLF001" in line]
    return {name for line in lines for name in re.findall(r"(?<!\bself)\.(_\w+)", line)}


def test_private_attributes_are_used_only_as_written_down() -> None:
    assert {name: found for name, path in MODULES.items() if (found := silenced(path))} == SILENCED


@pytest.mark.parametrize("name", sorted(name for names in IMPORTED.values() for name in names))
def test_a_name_that_is_imported_is_there(name: str) -> None:
    assert pkgutil.resolve_name(name)


@pytest.mark.parametrize(("provider", "reader"), [("container-role", "_fetcher"), ("iam-role", "_role_fetcher")])
def test_the_readers_of_credentials_have_the_session_that_is_replaced(provider: str, reader: str) -> None:
    chain = AioSession().get_component("credential_provider")
    fetcher = getattr(chain.get_provider(provider), reader)
    assert isinstance(fetcher._session, AIOHTTPSession)
    assert getattr(fetcher, "_timeout", None) or fetcher.TIMEOUT_SECONDS


def test_the_sources_of_credentials_have_the_names_that_are_replaced() -> None:
    chain = AioSession().get_component("credential_provider")
    role = chain.get_provider("assume-role")
    assert callable(role._prompter)
    names = {provider.METHOD for provider in role._profile_provider_builder.providers("p", disable_env_vars=True)}
    assert "custom-process" in names
    assert callable(chain.get_provider("custom-process")._popen)


def test_credentials_that_are_renewed_have_an_end_and_a_clock() -> None:
    end = datetime(2099, 1, 1, tzinfo=UTC)
    found = AioRefreshableCredentials("a", "b", "c", end, None, "role", time_fetcher=lambda: end)
    assert found._expiry_time is end
    assert found.refresh_needed(1)  # by the clock that is replaced
    found._time_fetcher = lambda: datetime(2098, 1, 1, tzinfo=UTC)
    assert not found.refresh_needed(1)


async def test_a_client_has_the_signer_whose_credentials_are_replaced() -> None:
    session = open_session(Connection(datastore_id="0" * 32))
    assert isinstance(session._session, AioSession)
    async with session.client("medical-imaging") as client:
        assert client._request_signer._credentials.access_key == "test"


def test_what_typer_prints_goes_through_the_names_that_are_replaced() -> None:
    console = inspect.getsource(rich_utils._get_rich_console)
    assert "Console(" in console
    assert "COLOR_SYSTEM" in console


@pytest.mark.parametrize("library", BOUNDED)
def test_a_library_whose_private_names_are_entered_has_an_upper_bound(library: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    (asked,) = [one for text in project["dependencies"] if (one := Requirement(text)).name == library]
    assert {one.operator for one in asked.specifier} == {">=", "<"}
    assert Version("999") not in asked.specifier
    assert f"`{asked}`" in RECORD


@pytest.mark.parametrize("name", sorted(name for names in [*IMPORTED.values(), *ENTERED.values()] for name in names))
def test_a_private_name_is_in_the_record(name: str) -> None:
    assert f"`{name}`" in RECORD


def test_the_versions_of_the_sdk_in_the_how_to_are_those_that_are_required() -> None:
    """Of aioboto3: one aiobotocore. Of that: a range of botocore."""
    page = (ROOT / "docs/how-to.md").read_text("utf-8").partition("## Install it beside a current boto3")[2]
    sdk = {(one := Requirement(text)).name: one for text in metadata.requires("aioboto3") or []}["aiobotocore"]
    core = {(one := Requirement(text)).name: one for text in metadata.requires("aiobotocore") or []}["botocore"]
    versions = [one.version for asked in (sdk, core) for one in asked.specifier]
    assert len(versions) == 3
    assert [version for version in versions if version not in page.partition("\n| ")[0]] == []
