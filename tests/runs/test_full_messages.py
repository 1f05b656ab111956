"""With `include_values`, messages of the service are kept with their operation, each once in a row."""

from __future__ import annotations

import io
import json
from typing import Any

from bulkedit.client.responses import Deleting, Page, Refusal, Refused
from bulkedit.runs.full_messages import KeepingClient
from tests.runs.factories import PassThroughClient
from tests.runs.killable import DirectClient, emulated

DENIED = Refused(Refusal.INVALID, "ValidationException", full_message="of a value")


class Answering(PassThroughClient):
    """A client that gives one answer to deletions, and one to lists of versions."""

    def __init__(self, deleted: Deleting | Refused, listed: Page | Refused) -> None:
        super().__init__(DirectClient(emulated()))
        self._deleted, self._listed = deleted, listed

    async def delete(self, image_set_id: str) -> Deleting | Refused:  # noqa: ARG002
        return self._deleted

    async def list_versions(self, image_set_id: str, **page: Any) -> Page | Refused:  # noqa: ARG002
        return self._listed


async def test_refused_deletions_and_lists_are_kept_and_answers_are_handed_on() -> None:
    file = io.BytesIO()
    refusing = KeepingClient(Answering(DENIED, DENIED), file, lambda: 1.0)
    for _ in range(2):
        assert await refusing.delete("a") is DENIED
    assert await refusing.list_versions("b") is DENIED
    lines = [json.loads(text) for text in file.getvalue().splitlines()]
    assert [(one["operation"], one["image_set_id"], one["message"]) for one in lines] == [
        ("DeleteImageSet", "a", "of a value"),
        ("ListImageSetVersions", "b", "of a value"),
    ]
    page = Page([], None)
    answering = KeepingClient(Answering(Deleting(), page), file, lambda: 1.0)
    assert (await answering.delete("a"), await answering.list_versions("b")) == (Deleting(), page)
    assert len(file.getvalue().splitlines()) == 2
