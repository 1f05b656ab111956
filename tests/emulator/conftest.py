"""The emulated service for tests: in process, and over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import botocore.session
import pytest
from botocore.config import Config

import bulkedit
from bulkedit.emulator import Emulator, ManualClock, serve
from tests.emulator.hospital import Service, settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.emulator.hospital import Json


@pytest.fixture
def service() -> Service:
    """The service as documented in 2026, without throttling."""
    return Service(settings())


@pytest.fixture
def make_service() -> Callable[..., Service]:
    """Make the service of an age, with switches."""
    return lambda *args, **options: Service(settings(*args, **options))


@pytest.fixture
def clock() -> ManualClock:
    """Time for a served emulator that the test moves."""
    return ManualClock()


@pytest.fixture
def emulator(clock: ManualClock) -> Iterator[Emulator]:
    """A served emulator without throttling."""
    with serve(settings(), clock=clock) as running:
        yield running


@pytest.fixture(scope="session")
def botocore_session() -> botocore.session.Session:
    """botocore with the additions to its model."""
    session = botocore.session.get_session()
    folder = Path(bulkedit.__file__).parent / "data" / "botocore"
    session.get_component("data_loader").search_paths.append(str(folder))
    return session


@pytest.fixture
def client_of(botocore_session: botocore.session.Session) -> Callable[..., Json]:
    """A botocore client that repeats nothing by itself."""

    def make(url: str, keys: tuple[str, str] = ("any", "any"), **config: Any) -> Json:
        return botocore_session.create_client(
            "medical-imaging",
            region_name="us-east-1",
            endpoint_url=url,
            aws_access_key_id=keys[0],
            aws_secret_access_key=keys[1],
            config=Config(inject_host_prefix=False, retries={"max_attempts": 0}, **config),
        )

    return make
