"""Decides whether access is denied to one image set, or to the whole operation. Pure.

IAM can deny a single image set (a policy on its ARN or its tags) or the whole operation, with the same response. So
one denial applies to its image set only. If several image sets in a row are denied, the permission is missing.
"""

from __future__ import annotations

from typing import Final

# different image sets denied in a row
NEVER_ALLOWED: Final = 5  # if the operation has not been allowed in this process
ALLOWED_BEFORE: Final = 10  # more, because image sets under one policy can be neighbours in a list


def all_denied(image_sets: int, *, allowed_before: bool) -> bool:
    """Whether the permission is missing. ``image_sets``: how many different ones in a row were denied the operation."""
    return image_sets >= (ALLOWED_BEFORE if allowed_before else NEVER_ALLOWED)
