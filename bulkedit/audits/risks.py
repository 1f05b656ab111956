"""Image sets whose pixels or documents may identify a patient, which no scan of metadata can exclude."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

from bulkedit.audits.values import values

if TYPE_CHECKING:
    from bulkedit._json import JsonObject


class Risk(StrEnum):
    """Why a person should review the images."""

    BURNED_IN = "BurnedInAnnotation says YES"
    RECOGNIZABLE = "RecognizableVisualFeatures says YES"
    SCREEN = "secondary capture: screens and scanned paper show names"
    ULTRASOUND = "ultrasound: names are often burned in"
    PHOTOGRAPH = "visible light: photographs may show a face"
    DOCUMENT = "encapsulated document: its text is not metadata"
    REPORT = "structured report: free text in its content"
    PRESENTATION = "presentation state or annotation: text may be drawn on the image"


# PS3.4 annex B.5: prefixes of SOP Class UIDs
_CLASSES: Final = {
    "1.2.840.10008.5.1.4.1.1.7": Risk.SCREEN,
    "1.2.840.10008.5.1.4.1.1.3": Risk.ULTRASOUND,
    "1.2.840.10008.5.1.4.1.1.6": Risk.ULTRASOUND,
    "1.2.840.10008.5.1.4.1.1.77.1": Risk.PHOTOGRAPH,
    "1.2.840.10008.5.1.4.1.1.104": Risk.DOCUMENT,
    "1.2.840.10008.5.1.4.1.1.88": Risk.REPORT,
    "1.2.840.10008.5.1.4.1.1.11": Risk.PRESENTATION,
}


def risks(document: JsonObject) -> set[Risk]:
    """The risks of an image set, by its metadata document."""
    found = set()
    for each in values(document):
        if not isinstance(each.value, str):
            continue
        text = each.value.strip(" \0")
        if each.spot.name == "BurnedInAnnotation" and text.upper() == "YES":
            found.add(Risk.BURNED_IN)
        elif each.spot.name == "RecognizableVisualFeatures" and text.upper() == "YES":
            found.add(Risk.RECOGNIZABLE)
        elif each.spot.name == "SOPClassUID" and each.spot.depth == 0:
            found |= {risk for prefix, risk in _CLASSES.items() if f"{text}.".startswith(f"{prefix}.")}
    return found
