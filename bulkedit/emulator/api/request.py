"""A request as the state machine takes it, and an answer that is no JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkedit._json import object_in

if TYPE_CHECKING:
    from bulkedit._json import JsonObject
    from bulkedit.emulator.state.records import Doom


@dataclass(frozen=True, slots=True)
class Request:
    """One API request: parameters named and typed as in the service's model. May hold health data: never log it."""

    action: str
    params: JsonObject
    now: float
    doom: Doom | None = None

    def text(self, name: str) -> str:
        """A required string parameter."""
        return str(self.params[name])

    def optional_text(self, name: str) -> str | None:
        """A string parameter, None where it is absent."""
        return None if (value := self.params.get(name)) is None else str(value)

    def number(self, name: str, default: int) -> int:
        """A number, ``default`` where it is absent."""
        return value if isinstance(value := self.params.get(name), int) else default

    def texts(self, name: str) -> dict[str, str]:
        """A map of strings to strings, empty where it is absent."""
        return {key: str(value) for key, value in object_in(self.params, name).items()}

    def flag(self, name: str) -> bool:
        """A boolean parameter, false where it is absent."""
        return self.params.get(name) is True


@dataclass(frozen=True, slots=True)
class Blob:
    """An answer that is a stream of bytes: the metadata document, not yet compressed."""

    content: bytes
