"""The other image sets of a study, polled if a study-wide call is refused because one of them is locked.

An update is scarce, a poll is not. So after such a refusal the call is not sent again until a round of polls has found
none of them locked. The plan names those that its rows are about. If none of these was seen locked, SearchImageSets
finds all of them, with the StudyInstanceUID of the call's own image set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bulkedit.client.parsing import primaries_of
from bulkedit.runs.requests import PollSibling, ReadStudy, SearchStudy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from bulkedit.client.responses import Page


class Siblings:
    """The image sets of one study as far as they are known, and a round of polls."""

    def __init__(self) -> None:
        self.asked = False  # the plan was asked for them
        self.searched = False  # the data store was searched for them, or that is not possible
        self.waited = False  # the round has met a lock, so those polled before it may be locked now
        self._known: dict[str, None] = {}
        self._left: list[str] = []  # of the round; the last one is next
        self._study: str | None = None

    def learn(self, image_sets: Iterable[str]) -> None:
        """Add image sets; a round that has begun polls them too."""
        new = [one for one in image_sets if one not in self._known]
        self._known.update(dict.fromkeys(new))
        self._left = new[::-1] + self._left

    def forget(self, image_set_id: str) -> None:
        """The image set is deleted or not primary, so it does not count."""
        self._known.pop(image_set_id, None)

    def begin(self) -> None:
        """Begin a round."""
        self._left = list(self._known)[::-1]
        self.waited = False

    def next_poll(self, own: str) -> PollSibling | None:
        """The next poll of the round, which leaves out the call's ``own`` image set; None at its end."""
        while self._left:
            image_set_id = self._left.pop()
            if image_set_id != own and image_set_id in self._known:
                return PollSibling(image_set_id)
        return None

    def search(self, own: str, version: int) -> ReadStudy | SearchStudy:
        """The request that finds all image sets of the study."""
        return ReadStudy(own, version) if self._study is None else SearchStudy(self._study)

    def found_study(self, document: dict[str, Any]) -> SearchStudy | None:
        """Take the metadata of an image set of the study; None if it does not name its study."""
        found = document.get("Study", {}).get("DICOM", {}).get("StudyInstanceUID")
        self._study = found.rstrip(" \0") if isinstance(found, str) else None
        return SearchStudy(self._study) if self._study else None

    def found(self, page: Page, performed: SearchStudy) -> SearchStudy | None:
        """Take a page of the search; the request for the next one, None at the end."""
        self.learn(one for one, primary in primaries_of(page).items() if primary is not False)
        return None if page.next_token is None else SearchStudy(performed.study_uid, page.next_token)
