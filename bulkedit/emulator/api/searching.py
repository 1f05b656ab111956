"""SearchImageSets: filters, sort and pages (search-image-sets; reference section 6).

A page begins after a position in the sort order at the time of the request. As with the service, an image set that is
updated between two pages moves to the end of the order by updatedAt.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import TYPE_CHECKING, Final, TypedDict, cast

from bulkedit.emulator.api import paging, views
from bulkedit.emulator.api.failures import Invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from bulkedit._json import Json
    from bulkedit.emulator.api.request import Request
    from bulkedit.emulator.api.views import Answer
    from bulkedit.emulator.state.image_set import StoredImageSet
    from bulkedit.emulator.state.records import StoredDatastore
    from bulkedit.emulator.state.world import World

    Test = Callable[[StoredImageSet], bool]
    Place = tuple[int | str, ...]  # the sort key of an image set
    _Bound = tuple[float | str, ...]  # epoch seconds, or date and time
    _Wanted = str | bool | float | dict[str, str]  # text of a key, isPrimary, epoch seconds, or date and time


class _Filter(TypedDict):
    """Shape SearchFilter of the service's model."""

    operator: str
    values: list[dict[str, _Wanted | None]]


class _Criteria(TypedDict, total=False):
    filters: list[_Filter]
    sort: dict[str, str]  # sortField, sortOrder


_KEYS: Final = {
    "DICOMPatientId": "patient_id",
    "DICOMAccessionNumber": "accession",
    "DICOMStudyId": "study_id",
    "DICOMStudyInstanceUID": "study_uid",
    "DICOMSeriesInstanceUID": "series_uid",
}
_ORDERED: Final = {"createdAt", "updatedAt", "DICOMStudyDateAndTime"}  # of which there can be ranges
_DEFAULT_SORT: Final = {"sortField": "updatedAt", "sortOrder": "DESC"}


def search_image_sets(world: World, request: Request) -> Answer:
    """SearchImageSets: finds all indexed image sets, primary or not. This does not change the storage tier."""
    datastore = world.datastore(request.text("datastoreId"))
    criteria = cast("_Criteria", request.params.get("searchCriteria") or {})  # the model has checked it
    filters = criteria.get("filters") or []
    sort = criteria.get("sort") or _DEFAULT_SORT
    scope = json.dumps([datastore.id, filters, sort], sort_keys=True)
    start = _start(request.optional_text("nextToken"), scope, sort["sortField"])
    size = request.number("maxResults", paging.LARGEST)
    found = list(islice(_matches(datastore, filters, sort, start), size + 1))
    page = found[:size]
    token = paging.token_of(list(_place(page[-1], sort["sortField"])), scope=scope) if len(found) > size else None
    items: list[Json] = [views.summary(world, image_set, request.now) for image_set in page]
    return views.without_nulls({"imageSetsMetadataSummaries": items, "sort": {**sort}, "nextToken": token})


def _start(token: str | None, scope: str, field: str) -> Place | None:
    if token is None:
        return None
    place = paging.position_of(token, scope=scope)
    kinds = (str, str, int) if field == "DICOMStudyDateAndTime" else (int,)
    if isinstance(place, list) and tuple(map(type, place)) == kinds:
        *keys, number = place
        if isinstance(number, int) and 0 <= number < 2**63:
            return (*map(str, keys), number)
    raise Invalid("nextToken is not valid")


def _matches(
    datastore: StoredDatastore, filters: list[_Filter], sort: dict[str, str], start: Place | None
) -> Iterator[StoredImageSet]:
    """The image sets that match all filters, in order, after ``start``."""
    tests = [_test(one) for one in filters]
    descending = sort["sortOrder"] == "DESC"
    candidates = _candidates(datastore, filters)
    if candidates is None and sort["sortField"] != "DICOMStudyDateAndTime":
        catalog = datastore.catalog
        order = catalog.by_update if sort["sortField"] == "updatedAt" else catalog.by_creation
        walk = order.walk(int(start[0]) if start else None, descending=descending)
        ordered: Iterable[StoredImageSet] = (image_set for _, image_set in walk)
    else:
        everything = [s for s in datastore.image_sets.values() if s.listing] if candidates is None else candidates
        ordered = _sorted(everything, sort["sortField"], start, descending=descending)
    return (image_set for image_set in ordered if all(test(image_set) for test in tests))


def _sorted(found: list[StoredImageSet], field: str, start: Place | None, *, descending: bool) -> list[StoredImageSet]:
    def beyond(image_set: StoredImageSet) -> bool:
        place = _place(image_set, field)
        return start is None or (place < start if descending else place > start)

    return sorted(filter(beyond, found), key=lambda image_set: _place(image_set, field), reverse=descending)


def _place(image_set: StoredImageSet, field: str) -> Place:
    listing = image_set.listing
    assert listing is not None  # noqa: S101 - a search finds only indexed image sets
    if field == "updatedAt":
        return (listing.order,)
    if field == "createdAt":
        return (image_set.born,)
    return (listing.keys.study_date or "", listing.keys.study_time or "", image_set.born)


def _candidates(datastore: StoredDatastore, filters: list[_Filter]) -> list[StoredImageSet] | None:
    """The image sets from the index of the first filter that has one; None if no filter has an index."""
    for one in filters:
        names = {name for value in one["values"] for name in value}
        if one["operator"] == "EQUAL" and names <= _KEYS.keys():
            found = {
                image_set.id: image_set
                for value in one["values"]
                for name, wanted in value.items()
                for image_set in datastore.catalog.by_key[_KEYS[name]].get(str(wanted))
            }
            return list(found.values())
    return None


def _test(one: _Filter) -> Test:
    values = [_single(value) for value in one["values"]]
    if one["operator"] == "EQUAL":
        tests = [_equal(name, value) for name, value in values]
        return lambda image_set: any(test(image_set) for test in tests)
    return _between(values)


def _single(value: dict[str, _Wanted | None]) -> tuple[str, _Wanted]:
    given = [(name, wanted) for name, wanted in value.items() if wanted is not None]
    if len(given) != 1:
        raise Invalid("Each value of a search filter must have exactly one member")
    return given[0]


def _equal(name: str, wanted: _Wanted) -> Test:
    if name in _KEYS:
        key = _KEYS[name]
        return lambda image_set: image_set.listing is not None and getattr(image_set.listing.keys, key) == wanted
    if name == "isPrimary":
        return lambda image_set: image_set.primary is wanted
    read, value = _reader(name), _bound(wanted)
    return lambda image_set: read(image_set) == value


def _between(values: list[tuple[str, _Wanted]]) -> Test:
    if len(values) != 2 or values[0][0] != values[1][0] or values[0][0] not in _ORDERED:
        raise Invalid("BETWEEN takes two values of createdAt, updatedAt or DICOMStudyDateAndTime: lower, upper")
    name = values[0][0]
    read, (low, high) = _reader(name), (_bound(wanted) for _, wanted in values)
    return lambda image_set: (value := read(image_set)) is not None and low <= value <= high


def _reader(name: str) -> Callable[[StoredImageSet], _Bound | None]:
    if name == "createdAt":
        return lambda image_set: (image_set.created_at,)
    if name == "updatedAt":
        return _updated_at
    return _study_when


def _updated_at(image_set: StoredImageSet) -> _Bound:
    number = image_set.listing.number if image_set.listing else image_set.number
    return (image_set.versions[number - 1].updated_at or image_set.created_at,)


def _study_when(image_set: StoredImageSet) -> _Bound | None:
    keys = image_set.listing.keys if image_set.listing else image_set.keys
    if keys.study_date is None:
        return None
    return keys.study_date.strip(), _padded(keys.study_time)


def _bound(wanted: _Wanted) -> _Bound:
    if not isinstance(wanted, dict):
        return (wanted,)
    # a missing time is the start of the day (search-image-sets)
    return wanted["DICOMStudyDate"], _padded(wanted.get("DICOMStudyTime"))


def _padded(time: str | None) -> str:
    """A time with full precision, so that times can be compared: "14" is "140000"."""
    whole, _, fraction = (time or "").strip().partition(".")
    return f"{whole:0<6}.{fraction:0<6}"
