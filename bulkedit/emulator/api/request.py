"""A request as the state machine takes it, and an answer that is no JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bulkedit.emulator.state.records import Doom


@dataclass(frozen=True, slots=True)
class Request:
    """One API request: parameters named and typed as in the service's model. May hold health data: never log it."""

    action: str
    params: dict[str, Any]
    now: float
    doom: Doom | None = None

    def text(self, name: str) -> str:
        """A required string parameter."""
        value: str = self.params[name]
        return value

    def flag(self, name: str) -> bool:
        """A boolean parameter, false where it is absent."""
        return self.params.get(name) is True


@dataclass(frozen=True, slots=True)
class Blob:
    """An answer that is a stream of bytes: the metadata document, not yet compressed."""

    content: bytes
