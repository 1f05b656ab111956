"""A local AWS HealthImaging for tests and demos. SDKs and the AWS CLI use it by its endpoint URL.

Example::

    from bulkedit.emulator import serve

    with serve() as emulator:
        image_set_id = emulator.add(document)
        client = boto3.client("medical-imaging", endpoint_url=emulator, config=Config(inject_host_prefix=False), ...)

Names are imported on first use, because pytest loads the plugin of this package at every start.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bulkedit.emulator.clock import EmulatorClock, ManualClock, ScaledClock, SystemClock
    from bulkedit.emulator.embedding import Emulator, serve, serve_async
    from bulkedit.emulator.http.signing import Credentials
    from bulkedit.emulator.settings import (
        DEFAULT_DATASTORE_ID,
        PROFILES,
        UNTHROTTLED,
        CompletionTime,
        ServiceProfile,
        Settings,
        profile,
        switches,
    )
    from bulkedit.emulator.state.faults import Fault, FaultKind, fault
    from bulkedit.emulator.state.journal import Entry
    from bulkedit.emulator.state.world import World

__all__ = [
    "DEFAULT_DATASTORE_ID",
    "PROFILES",
    "UNTHROTTLED",
    "CompletionTime",
    "Credentials",
    "Emulator",
    "EmulatorClock",
    "Entry",
    "Fault",
    "FaultKind",
    "ManualClock",
    "ScaledClock",
    "ServiceProfile",
    "Settings",
    "SystemClock",
    "World",
    "fault",
    "profile",
    "serve",
    "serve_async",
    "switches",
]

_MODULES = {
    "clock": ("EmulatorClock", "ManualClock", "ScaledClock", "SystemClock"),
    "embedding": ("Emulator", "serve", "serve_async"),
    "state.faults": ("Fault", "FaultKind", "fault"),
    "state.journal": ("Entry",),
    "settings": (
        *(
            "DEFAULT_DATASTORE_ID",
            "PROFILES",
            "UNTHROTTLED",
            "ServiceProfile",
            "Settings",
            "CompletionTime",
            "profile",
            "switches",
        ),
    ),
    "http.signing": ("Credentials",),
    "state.world": ("World",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bulkedit.errors import require_posix  # here, because pytest imports this package at every start

    require_posix()
    return getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return __all__
