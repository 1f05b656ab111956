"""The running emulator, as what works for its server sees it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from bulkedit.emulator.settings import Settings
    from bulkedit.emulator.state.faults import Faults
    from bulkedit.emulator.state.journal import Journal
    from bulkedit.emulator.state.world import World


class Running(Protocol):
    """A world whose time goes on."""

    settings: Settings
    world: World
    journal: Journal
    faults: Faults

    def now(self) -> float:
        """Epoch seconds, in milliseconds as the service answers them."""
        ...

    def catch_up(self) -> None:
        """Let happen what is due, write down what happened, and keep it."""
        ...
