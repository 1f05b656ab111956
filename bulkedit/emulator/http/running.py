"""The interface of the server for control requests and import jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bulkedit.emulator.settings import Settings
    from bulkedit.emulator.state.faults import Faults
    from bulkedit.emulator.state.journal import Journal
    from bulkedit.emulator.state.world import World


class Running(Protocol):
    """A running emulator: its world, and its clock."""

    settings: Settings
    world: World
    journal: Journal
    faults: Faults

    def now(self) -> float:
        """Epoch seconds, rounded to milliseconds as in the service's responses."""
        ...

    def catch_up(self) -> None:
        """Complete the actions that are due; write the changes to the journal and the state file."""
        ...
