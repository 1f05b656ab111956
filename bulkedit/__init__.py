"""Bulk edits of AWS HealthImaging metadata: fewest calls, exactly at the quota, every row accounted for.

The functions of `bulkedit.api`, one per command. They are imported when first used.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from bulkedit._version import __version__

# the importing program decides what is shown
logging.getLogger(__name__).addHandler(logging.NullHandler())

if TYPE_CHECKING:
    from bulkedit.api import (
        Advance,
        Audit,
        AuditOptions,
        Contradictions,
        Deidentified,
        DeidOptions,
        Halt,
        InventoryOptions,
        InventoryProgress,
        ListOptions,
        OnConflict,
        OnLaterChange,
        OnMany,
        OnMissing,
        RememberQuota,
        Report,
        Reversal,
        RevertOptions,
        RunChanges,
        RunOptions,
        Sample,
        StopSignal,
        Strategy,
        StudyWide,
        TakenInventory,
        Trail,
        TrailProgress,
        VerifyOptions,
        Where,
        WorkProgress,
        apply,
        audit,
        deid,
        inventory,
        plan,
        report,
        resume,
        revert,
        trail,
        verify,
    )

__all__ = [
    "Advance",
    "Audit",
    "AuditOptions",
    "Contradictions",
    "DeidOptions",
    "Deidentified",
    "Halt",
    "InventoryOptions",
    "InventoryProgress",
    "ListOptions",
    "OnConflict",
    "OnLaterChange",
    "OnMany",
    "OnMissing",
    "RememberQuota",
    "Report",
    "Reversal",
    "RevertOptions",
    "RunChanges",
    "RunOptions",
    "Sample",
    "StopSignal",
    "Strategy",
    "StudyWide",
    "TakenInventory",
    "Trail",
    "TrailProgress",
    "VerifyOptions",
    "Where",
    "WorkProgress",
    "__version__",
    "apply",
    "audit",
    "deid",
    "inventory",
    "plan",
    "report",
    "resume",
    "revert",
    "trail",
    "verify",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from bulkedit.errors import require_posix

    require_posix()
    from bulkedit import api as library

    return getattr(library, name)


def __dir__() -> list[str]:
    return __all__
