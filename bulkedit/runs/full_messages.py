"""The service's full messages in a private file, written only with `include_values`: for support cases with AWS."""

from __future__ import annotations

import json
from typing import IO, TYPE_CHECKING, Final, TypeVar

from bulkedit.client.responses import ImageSet, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

    from bulkedit.client.contract import Client, CopyRequest, Criteria, UpdateRequest
    from bulkedit.client.responses import Accepted, Copied, Datastore, Deleting, Lost, Metadata, Page

FILE: Final = "messages.jsonl"
_T = TypeVar("_T")


class KeepingClient:
    """Wraps a client and writes each message of its answers to a file, one JSON object per line.

    A line has ``time`` (epoch seconds), ``operation``, ``image_set_id`` (null for a data store or a search), ``code``
    (null for a failed version) and ``message``. Repeated messages of an image set are written once.
    """

    def __init__(self, client: Client, file: IO[bytes], now: Callable[[], float]) -> None:
        self._client = client
        self._file = file
        self._now = now
        self._last: dict[str | None, str] = {}

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        """UpdateImageSetMetadata."""
        return self._kept("UpdateImageSetMetadata", request.image_set_id, await self._client.update(request))

    async def copy(self, request: CopyRequest) -> Copied | Refused | Lost:
        """CopyImageSet."""
        return self._kept("CopyImageSet", request.image_set_id, await self._client.copy(request))

    async def delete(self, image_set_id: str) -> Deleting | Refused | Lost:
        """DeleteImageSet."""
        return self._kept("DeleteImageSet", image_set_id, await self._client.delete(image_set_id))

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        """GetImageSet."""
        return self._kept("GetImageSet", image_set_id, await self._client.get_image_set(image_set_id, version))

    async def get_metadata(self, image_set_id: str, version: int | None = None) -> Metadata | Refused | Lost:
        """GetImageSetMetadata."""
        return self._kept("GetImageSetMetadata", image_set_id, await self._client.get_metadata(image_set_id, version))

    async def list_versions(
        self, image_set_id: str, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        """ListImageSetVersions."""
        answer = await self._client.list_versions(image_set_id, limit=limit, next_token=next_token)
        return self._kept("ListImageSetVersions", image_set_id, answer)

    async def search(
        self, criteria: Criteria | None = None, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        """SearchImageSets."""
        answer = await self._client.search(criteria, limit=limit, next_token=next_token)
        return self._kept("SearchImageSets", None, answer)

    async def get_datastore(self) -> Datastore | Refused | Lost:
        """GetDatastore."""
        return self._kept("GetDatastore", None, await self._client.get_datastore())

    def _kept(self, operation: str, image_set_id: str | None, answer: _T) -> _T:
        if isinstance(answer, Refused | ImageSet) and answer.full_message:
            self._write(operation, image_set_id, answer)
        return answer

    def _write(self, operation: str, image_set_id: str | None, answer: Refused | ImageSet) -> None:
        if self._last.get(image_set_id) == answer.full_message:
            return
        self._last[image_set_id] = answer.full_message
        line = {
            "time": self._now(),
            "operation": operation,
            "image_set_id": image_set_id,
            "code": answer.code if isinstance(answer, Refused) else None,
            "message": answer.full_message,
        }
        self._file.write(json.dumps(line).encode() + b"\n")
        self._file.flush()
