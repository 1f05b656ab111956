"""A pytest plugin: the fixture ``healthimaging`` is a running emulator, a new one for each test.

Example::

    @pytest.fixture
    def healthimaging_settings():          # optional: how the emulator behaves
        return Settings(completion_time=CompletionTime(seconds=0.0))


    def test_my_code(healthimaging):
        image_set_id = healthimaging.add(document)
        my_code(endpoint_url=healthimaging.url)
        assert [e.code for e in healthimaging.journal() if e.kind == "request"] == [None]

During the test, environment variables make the AWS SDKs in this process and its children use the emulator.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit.emulator import Emulator, Settings


@pytest.fixture
def healthimaging_settings() -> Settings:
    """Settings of the fixture ``healthimaging``: fast, and without throttling. Override this fixture to change them."""
    from bulkedit.emulator import UNTHROTTLED, CompletionTime, Settings

    return Settings(scale=UNTHROTTLED, completion_time=CompletionTime(seconds=0.01))


@pytest.fixture
def healthimaging(healthimaging_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulator]:
    """A running emulator of AWS HealthImaging, which AWS SDKs use by environment variables."""
    from bulkedit.emulator import serve

    with serve(healthimaging_settings) as emulator:
        for name, value in emulator.environment().items():
            monkeypatch.setenv(name, value)
        yield emulator
