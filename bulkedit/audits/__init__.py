"""What still identifies a patient after a de-identification run: an independent scan of metadata documents.

It compares a document as it was before the run with the document as it is now. The rules are the audit's own and pure,
and import nothing of `bulkedit.deidentification`: a mistake there must not hide itself here. `run` reads the documents,
`job` is the whole audit. Pixels are never looked at.
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
