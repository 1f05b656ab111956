"""Root writes where nobody may: tests of read-only folders put that power aside for a moment."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_VERSION_3 = 0x20080522  # of capget(2): two words a set
_OVERRIDES = 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextmanager
def as_anybody() -> Iterator[None]:
    """This thread keeps to the modes of files and folders, as root too does not otherwise."""
    if os.geteuid() != 0:
        yield
        return
    assert sys.platform == "linux", "run the tests as a user who is not root"
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()

    def held(result: int) -> None:
        if result:
            raise OSError(ctypes.get_errno(), "capabilities cannot be changed")

    held(libc.capget(ctypes.byref(header), sets))
    usual = sets[0].effective
    sets[0].effective = usual & ~_OVERRIDES
    held(libc.capset(ctypes.byref(header), sets))
    try:
        yield
    finally:
        sets[0].effective = usual
        held(libc.capset(ctypes.byref(header), sets))
