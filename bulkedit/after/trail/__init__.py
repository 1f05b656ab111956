"""A run compared with CloudTrail: which of its requests AWS has recorded, and who else wrote to its image sets."""

from bulkedit.after.trail.compare import FINDINGS, TRAIL, Finding
from bulkedit.after.trail.job import Trail, trail_of

__all__ = ["FINDINGS", "TRAIL", "Finding", "Trail", "trail_of"]
