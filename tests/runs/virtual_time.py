"""The emulated service without HTTP, and an event loop whose clock jumps: a run of days in milliseconds."""

from __future__ import annotations

import asyncio
import base64
import selectors
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from anyio import to_thread

from bulkedit.client.parsing import copied_of, image_set_of, refusal_of
from bulkedit.client.responses import Accepted, Copied, Datastore, Deleting, ImageSet, Lost, Metadata, Page, Refused

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from anyio import CapacityLimiter

    from bulkedit.client.contract import CopyRequest, UpdateRequest
    from tests.emulator.hospital import Service

T = TypeVar("T")
_STATUS = {"ThrottlingException": 429, "InternalServerException": 500}


class InProcess:
    """`bulkedit.client.contract.Client` on a `Service`; its time is that of the running loop."""

    def __init__(self, service: Service, *, epoch: float = 1_700_000_000.0) -> None:
        self.service = service
        self.epoch = epoch

    def _call(self, action: str, **params: Any) -> Any:
        self.service.now = self.epoch + asyncio.get_running_loop().time()
        self.service.world.advance(self.service.now)
        answer = self.service.call(action, **params)
        if isinstance(answer, tuple):
            code, message = answer
            meta = {"HTTPStatusCode": _STATUS.get(code, 400)}
            return refusal_of({"Error": {"Code": code, "Message": message}, "ResponseMetadata": meta})
        return answer

    async def update(self, request: UpdateRequest) -> Accepted | Refused | Lost:
        options: dict[str, Any] = {"force": True} if request.force else {}
        if request.include_study:
            options["includeStudyImageSets"] = True
        body: dict[str, Any] = {"revertToVersionId": str(request.revert_to)}
        if request.revert_to is None:
            blobs = {"updatableAttributes": request.updatable, "removableAttributes": request.removable}
            body = {
                "DICOMUpdates": {name: base64.b64encode(text.encode()).decode() for name, text in blobs.items() if text}
            }
        answer = self._call(
            "UpdateImageSetMetadata",
            imageSetId=request.image_set_id,
            latestVersionId=str(request.expected_version),
            updateImageSetMetadataUpdates=body,
            **options,
        )
        return Accepted(int(answer["latestVersionId"])) if isinstance(answer, dict) else answer

    async def copy(self, request: CopyRequest) -> Copied | Refused | Lost:
        answer = self._call(
            "CopyImageSet",
            sourceImageSetId=request.image_set_id,
            copyImageSetInformation={"sourceImageSet": {"latestVersionId": str(request.expected_version)}},
            **({"promoteToPrimary": True} if request.promote else {}),
        )
        return copied_of(answer) if isinstance(answer, dict) else answer

    async def delete(self, image_set_id: str) -> Deleting | Refused | Lost:
        answer = self._call("DeleteImageSet", imageSetId=image_set_id)
        return Deleting() if isinstance(answer, dict) else answer

    async def get_image_set(self, image_set_id: str, version: int | None = None) -> ImageSet | Refused | Lost:
        params = {} if version is None else {"versionId": str(version)}
        answer = self._call("GetImageSet", imageSetId=image_set_id, **params)
        if not isinstance(answer, dict):
            found: Refused | Lost = answer
            return found
        updated = answer.pop("updatedAt", None)
        image_set = image_set_of(answer)
        return image_set if updated is None else _at(image_set, updated)

    async def get_metadata(self, image_set_id: str, version: int | None = None) -> Metadata | Refused | Lost:
        params = {} if version is None else {"versionId": str(version)}
        answer = self._call("GetImageSetMetadata", imageSetId=image_set_id, **params)
        return Metadata(answer) if isinstance(answer, dict) else answer

    async def list_versions(
        self, image_set_id: str, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        more = {"nextToken": next_token} if next_token else {}
        answer = self._call("ListImageSetVersions", imageSetId=image_set_id, maxResults=limit, **more)
        if not isinstance(answer, dict):
            found: Refused | Lost = answer
            return found
        return Page(dated(answer["imageSetPropertiesList"]), answer.get("nextToken"))

    async def search(
        self, criteria: dict[str, Any] | None = None, *, limit: int = 50, next_token: str | None = None
    ) -> Page | Refused | Lost:
        more = {"nextToken": next_token} if next_token else {}
        answer = self._call("SearchImageSets", searchCriteria=criteria or {}, maxResults=limit, **more)
        if not isinstance(answer, dict):
            found: Refused | Lost = answer
            return found
        return Page(answer["imageSetsMetadataSummaries"], answer.get("nextToken"))

    async def get_datastore(self) -> Datastore | Refused | Lost:
        return Datastore("emulated000000000000000000000001", "ACTIVE")


def _at(image_set: ImageSet, updated: float) -> ImageSet:
    return replace(image_set, updated_at=updated)


def dated(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Items of ListImageSetVersions with times as botocore makes them of the wire's seconds."""
    times = ("createdAt", "updatedAt", "deletedAt")
    return [
        {key: datetime.fromtimestamp(value, UTC) if key in times else value for key, value in item.items()}
        for item in items
    ]


class _Jumping(selectors.DefaultSelector):
    """Instead of waiting for a timer, the clock jumps to it; a wait for a thread is real."""

    loop: VirtualLoop
    threads: CapacityLimiter | None = None

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        if self.threads is not None and self.threads.borrowed_tokens:
            return super().select(None)
        if found := super().select(0):
            return found
        self.loop.now += timeout
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a clock that jumps to the next timer. Work on threads takes no time of that clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.jumping = _Jumping()
        self.jumping.loop = self
        super().__init__(self.jumping)

    def time(self) -> float:
        return self.now


def run_virtual(main: Coroutine[Any, Any, T]) -> T:
    """As asyncio.run, in time that jumps."""

    async def watched() -> T:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.jumping.threads = to_thread.current_default_thread_limiter()
        return await main

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(watched())
