"""The requests of a lane, and the replies to them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from bulkedit.client.pacing import Operation
from bulkedit.client.responses import Accepted, Copied, Datastore, Deleting, ImageSet, Lost, Metadata, Page, Refused

if TYPE_CHECKING:
    from bulkedit.client.contract import CopyRequest, Criteria, UpdateRequest


@dataclass(frozen=True, slots=True)
class Update:
    """UpdateImageSetMetadata."""

    update: UpdateRequest
    operation: Operation = Operation.UPDATE


@dataclass(frozen=True, slots=True)
class GetImageSet:
    """A poll of the latest or of one version; ``by_list``: ListImageSetVersions may be used instead."""

    image_set_id: str
    version: int | None = None
    by_list: bool = field(default=False, compare=False)
    operation: Operation = Operation.GET


@dataclass(frozen=True, slots=True)
class GetMetadata:
    """GetImageSetMetadata of one version."""

    image_set_id: str
    version: int
    operation: Operation = Operation.METADATA


@dataclass(frozen=True, slots=True)
class GetDatastore:
    """GetDatastore. It is sent so rarely that it uses the quota of GetImageSet."""

    operation: Operation = Operation.GET


@dataclass(frozen=True, slots=True)
class Copy:
    """CopyImageSet, to a new image set."""

    copy: CopyRequest
    operation: Operation = Operation.COPY


@dataclass(frozen=True, slots=True)
class Delete:
    """DeleteImageSet, if ``promoted`` is active and the image set still is at ``version``.

    Both are polled right before the deletion, because it may have waited for its quota. If a poll forbids the deletion,
    that poll is the reply.
    """

    image_set_id: str
    version: int
    promoted: str
    operation: Operation = Operation.DELETE


@dataclass(frozen=True, slots=True)
class Search:
    """SearchImageSets: one page of the image sets of a series. Contains health data: never log it."""

    series_uid: str
    next_token: str | None = None
    operation: Operation = Operation.SEARCH

    @property
    def criteria(self) -> Criteria:
        """The search."""
        return _equal("DICOMSeriesInstanceUID", self.series_uid)


@dataclass(frozen=True, slots=True)
class PollSibling:
    """GetImageSet of another image set of the study."""

    image_set_id: str
    version: None = None  # the latest
    operation: Operation = Operation.GET


@dataclass(frozen=True, slots=True)
class ReadStudy:
    """GetImageSetMetadata of one version, for its StudyInstanceUID."""

    image_set_id: str
    version: int
    operation: Operation = Operation.METADATA


@dataclass(frozen=True, slots=True)
class SearchStudy:
    """SearchImageSets: one page of the image sets of a study. Contains health data: never log it."""

    study_uid: str
    next_token: str | None = None
    operation: Operation = Operation.SEARCH

    @property
    def criteria(self) -> Criteria:
        """The search."""
        return _equal("DICOMStudyInstanceUID", self.study_uid)


LaneRequest = (
    Update | GetImageSet | GetMetadata | GetDatastore | Copy | Delete | Search | PollSibling | ReadStudy | SearchStudy
)
Reply = Accepted | Copied | Deleting | ImageSet | Metadata | Datastore | Page | Refused | Lost
WRITES: Final = (Update, Copy, Delete)
OF_STUDY: Final = (PollSibling, ReadStudy, SearchStudy)  # if they are denied, the call can still be sent
READS: Final = (GetImageSet, GetMetadata, GetDatastore, Search, *OF_STUDY)


def _equal(name: str, value: str) -> Criteria:
    return {"filters": [{"values": [{name: value}], "operator": "EQUAL"}]}
