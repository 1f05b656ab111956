"""Start one command, and write how it ended and the peak of its memory: `python -I -S launcher.py REPORT LIMIT WORDS`.

This is a process of its own, because Linux counts what a parent holds at the moment of the fork as the child's, and
this one holds a few megabytes. The child is killed above LIMIT bytes, so that the machine survives what is tested.
"""

import json
import os
import signal
import sys
import time

_LOOK_S = 0.01


def _resident(child: int) -> int:
    """Bytes of memory that it holds now; 0 where /proc does not tell, as on macOS."""
    try:
        with open(f"/proc/{child}/statm") as file:  # noqa: PTH123 - pathlib takes memory
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def main() -> None:
    report, limit, *words = sys.argv[1:]
    signal.signal(signal.SIGINT, lambda *_: None)  # it is for the child, which is of the same group
    child = os.posix_spawn(words[0], words, os.environ)
    killed = False
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        if not killed and _resident(child) > int(limit):
            killed = True
            os.kill(child, signal.SIGKILL)
        time.sleep(_LOOK_S)
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"exit_code": os.waitstatus_to_exitcode(status), "peak": usage.ru_maxrss * unit, "killed": killed}
    with open(report, "w") as file:  # noqa: PTH123
        json.dump(found, file)


main()
