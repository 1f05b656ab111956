"""A local AWS HealthImaging that real clients take for the real one.

```python
from bulkedit.emulator import serve

with serve() as emulator:
    image_set_id = emulator.add(document)
    client = boto3.client("medical-imaging", endpoint_url=emulator, config=Config(inject_host_prefix=False), ...)
```
"""

from bulkedit.emulator.clock import Clock, ManualClock, ScaledClock, SystemClock
from bulkedit.emulator.embedding import Emulator, serve, serve_async
from bulkedit.emulator.faults import Fault, Kind, fault
from bulkedit.emulator.journal import Entry
from bulkedit.emulator.settings import (
    DEFAULT_DATASTORE_ID,
    PROFILES,
    UNTHROTTLED,
    Profile,
    Settings,
    Settle,
    profile,
    switches,
)
from bulkedit.emulator.signing import Credentials
from bulkedit.emulator.world import World

__all__ = [
    "DEFAULT_DATASTORE_ID",
    "PROFILES",
    "UNTHROTTLED",
    "Clock",
    "Credentials",
    "Emulator",
    "Entry",
    "Fault",
    "Kind",
    "ManualClock",
    "Profile",
    "ScaledClock",
    "Settings",
    "Settle",
    "SystemClock",
    "World",
    "fault",
    "profile",
    "serve",
    "serve_async",
    "switches",
]
