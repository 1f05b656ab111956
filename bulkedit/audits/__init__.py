"""Audit of a de-identification run: an independent scan for values that still identify a patient.

It compares each metadata document before the run with the document now. Its rules do not use
`bulkedit.deidentification`, so that a mistake there cannot hide itself here. `run` reads the documents, `job` is the
whole audit. Pixels are not checked.
"""

from bulkedit.audits.check import RISKS, AuditCounters
from bulkedit.audits.originals import OriginalKind
from bulkedit.audits.references import Closure, References
from bulkedit.audits.risks import Risk, risks
from bulkedit.audits.scan import FINDINGS, AuditFinding, scan
from bulkedit.audits.texts import SURVIVORS, FreeTexts

__all__ = [
    "FINDINGS",
    "RISKS",
    "SURVIVORS",
    "AuditCounters",
    "AuditFinding",
    "Closure",
    "FreeTexts",
    "OriginalKind",
    "References",
    "Risk",
    "risks",
    "scan",
]
