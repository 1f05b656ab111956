"""An API request, and a response that is not JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bulkedit._json import object_in

if TYPE_CHECKING:
    from bulkedit._json import JsonObject
    from bulkedit.emulator.state.records import FaultEffect


@dataclass(frozen=True, slots=True)
class Request:
    """One API request, with the parameters of the service's model. It may contain health data: never log it."""

    action: str
    params: JsonObject
    now: float
    effect: FaultEffect | None = None

    def text(self, name: str) -> str:
        """A required string parameter."""
        return str(self.params[name])

    def optional_text(self, name: str) -> str | None:
        """A string parameter; None if it is absent."""
        return None if (value := self.params.get(name)) is None else str(value)

    def number(self, name: str, default: int) -> int:
        """A number parameter; ``default`` if it is absent."""
        return value if isinstance(value := self.params.get(name), int) else default

    def texts(self, name: str) -> dict[str, str]:
        """A map of strings to strings; empty if it is absent."""
        return {key: str(value) for key, value in object_in(self.params, name).items()}

    def flag(self, name: str) -> bool:
        """A boolean parameter; False if it is absent."""
        return self.params.get(name) is True


@dataclass(frozen=True, slots=True)
class Blob:
    """A response body of bytes: the metadata document, not yet compressed."""

    content: bytes
