"""How many files a command may open: each connection is one."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

_WANTED: Final = 4096  # more than any number of workers needs


def allow_files() -> None:
    """Raise the soft limit of open files towards the hard one, which needs no rights."""
    try:
        import resource
    except ImportError:  # Windows, where only --help and --version are of use
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= _WANTED:
        return
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
