"""A run compared with CloudTrail: which of its requests AWS has recorded, and who else wrote to its image sets."""

from bulkedit.after.trail.compare import FINDINGS, TRAIL, Finding
from bulkedit.after.trail.job import Trail, TrailProgress, trail_of, trail_run

__all__ = ["FINDINGS", "TRAIL", "Finding", "Trail", "TrailProgress", "trail_of", "trail_run"]
