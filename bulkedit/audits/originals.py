"""Collects the identifying values of a document before the run, by rules of this package alone."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bulkedit.audits.values import Spot, values

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bulkedit._json import Json, JsonObject


class OriginalKind(StrEnum):
    """Kinds of identifying values. Kinds that a run keeps on purpose are not checked."""

    NAME = "name"  # of any person
    IDENTIFIER = "identifier"  # of the patient, the visit, the order; addresses and telephone numbers
    DATE = "date"
    UID = "uid"  # of instances and what they refer to; not class UIDs and registered UIDs
    DEVICE = "device"
    INSTITUTION = "institution"


REGISTERED: Final = "1.2.840.10008."  # PS3.6 annex A: classes, transfer syntaxes, coding schemes
_NO_INSTANCE: Final = re.compile(
    r"(ClassUID|TransferSyntaxUID|CodingSchemeUID|MappingResourceUID|ContextUID|ContextGroupExtensionCreatorUID"
    r"|TransferSyntaxUIDs?|ClassUIDs|ImplementationClassUID|LongCodeValue)$"
)
_IDENTIFIERS: Final = re.compile(
    r"^(PatientID|OtherPatientIDs|AccessionNumber|StudyID|AdmissionID|ServiceEpisodeID|MedicalRecordLocator"
    r"|RequestedProcedureID|ScheduledProcedureStepID|PerformedProcedureStepID|IssuerOf\w*|InsurancePlanIdentification"
    r"|RequestingService|ConsultingPhysician\w*|\w*PlacerOrder\w*|\w*FillerOrder\w*|ImagingServiceRequest\w*Number"
    r"|PatientAddress|PatientTelephoneNumbers|PatientTelecomInformation|PersonAddress|PersonTelephoneNumbers"
    r"|PatientReligiousPreference|BranchOfService|MilitaryRank|EthnicGroup|Occupation|CurrentPatientLocation"
    r"|PatientInstitutionResidence|RegionOfResidence|CountryOfResidence|SpecimenIdentifier|ContainerIdentifier"
    r"|SpecimenAccessionNumber|ClinicalTrialSubjectID|ClinicalTrialSubjectReadingID|CodeValueOfPatient\w*)$"
)
_DEVICES: Final = re.compile(
    r"^(DeviceSerialNumber|StationName|DeviceUID|PlateID|DetectorID|GantryID|CassetteID|GeneratorID|DeviceID"
    r"|ScheduledStationName|ScheduledStationAETitle|PerformedStationName|PerformedStationAETitle"
    r"|SourceApplicationEntityTitle|SendingApplicationEntityTitle|ReceivingApplicationEntityTitle|RetrieveAETitle)$"
)
_INSTITUTIONS: Final = re.compile(
    r"^(InstitutionName|InstitutionAddress|InstitutionalDepartmentName|InstitutionalDepartmentTypeCodeMeaning"
    r"|ResponsibleOrganization|ClinicalTrialSiteName|ClinicalTrialSiteID|ScheduledProcedureStepLocation"
    r"|PerformedLocation)$"
)
TITLES: Final = frozenset(
    {"dr", "mr", "mrs", "ms", "md", "prof", "phd", "jr", "sr", "von", "van", "der", "the", "unknown", "none", "null"}
)
_SHORTEST_NAME: Final = 3  # letters of a word that is searched for inside texts; 2 for ideographs
_SHORTEST_IDENTIFIER: Final = 5  # shorter ones are in every text, so they are compared only at their own place
_WORD: Final = re.compile(r"[^\W_]+")


@dataclass(slots=True)
class Originals:
    """Values to search for, each with its kind. Contains health data: never log it."""

    whole: dict[str, OriginalKind] = field(default_factory=dict)  # folded values
    tokens: dict[str, OriginalKind] = field(default_factory=dict)  # folded words of them
    phrases: dict[str, OriginalKind] = field(default_factory=dict)  # folded values of several words, without names
    dates: set[str] = field(default_factory=set)  # YYYYMMDD
    uids: set[str] = field(default_factory=set)
    places: dict[tuple[str, str], OriginalKind] = field(default_factory=dict)  # (path, folded value)


def kind_of(spot: Spot, value: Json) -> OriginalKind | None:
    """The kind of an original value, by its attribute; None if it is not identifying."""
    if not isinstance(value, str) or not value.strip():
        return None
    if spot.vr == "PN":
        return OriginalKind.NAME
    if spot.vr == "UI":
        free = value.strip(" \0").startswith(REGISTERED) or _NO_INSTANCE.search(spot.name)
        return None if free else OriginalKind.UID
    if spot.vr in {"DA", "DT"}:
        return OriginalKind.DATE
    for kind, names in (
        (OriginalKind.IDENTIFIER, _IDENTIFIERS),
        (OriginalKind.DEVICE, _DEVICES),
        (OriginalKind.INSTITUTION, _INSTITUTIONS),
    ):
        if names.match(spot.name):
            return kind
    return None


def originals(document: JsonObject, kept: frozenset[OriginalKind] = frozenset()) -> Originals:
    """Collect the identifying values of a document before the run, except the ``kept`` kinds."""
    found = Originals()
    for each in values(document):
        kind = kind_of(each.spot, each.value)
        if kind is None or kind in kept:
            continue
        text = folded(str(each.value))
        found.places.setdefault((bare(each.spot.path), text), kind)
        if kind is OriginalKind.UID:
            found.uids.add(text)
        elif kind is OriginalKind.DATE:
            found.dates.update(day for day in [text[:8]] if day.isdigit() and len(day) == 8)
        else:
            _add(found, text, kind)
    return found


def _add(found: Originals, text: str, kind: OriginalKind) -> None:
    words = list(tokens(text))
    if kind is OriginalKind.NAME:
        whole = " ".join(words)
        if len(words) > 1:
            found.whole.setdefault(whole, kind)
        for word in words:
            found.tokens.setdefault(word, kind)
    elif len(text) >= _SHORTEST_IDENTIFIER:
        found.whole.setdefault(text, kind)
        (found.tokens if text.isalnum() else found.phrases).setdefault(text, kind)


def folded(value: str) -> str:
    """A text for comparison: without padding, in lower case."""
    return value.strip(" \0").casefold()


def bare(path: str) -> str:
    """A path without item numbers, so that a removed item does not hide the next one."""
    return re.sub(r"\[\d+\]", "", path)


def tokens(text: str) -> Iterator[str]:
    """The words of a folded name that are long enough not to match by chance."""
    for word in _WORD.findall(text):
        if word in TITLES or word.isdigit():
            continue
        if len(word) >= (_SHORTEST_NAME if word.isascii() else 2):
            yield word
