"""Denials of access: of one image set, or of all. Pure.

IAM can deny a single image set (a policy on its ARN or its tags) or the operation as a whole, and the answer is the
same. So one denial tells of its image set only; of so many image sets in a row it tells that the permission is missing.
"""

from __future__ import annotations

from typing import Final

# image sets in a row
NEVER_ALLOWED: Final = 5  # of an operation that has not been allowed in this process
ALLOWED_BEFORE: Final = 10  # image sets under one policy can stand together in a list


def all_denied(image_sets: int, *, allowed_before: bool) -> bool:
    """Whether the permission is missing, if so many different image sets in a row were denied an operation."""
    return image_sets >= (ALLOWED_BEFORE if allowed_before else NEVER_ALLOWED)
