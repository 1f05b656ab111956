"""A workbook that is damaged in any way gives edits or an error in words: no traceback, no abort, bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.edits.excel.fuzzed_books import outcome_of

SHORT = 25
LONG = int(os.environ.get("BULKEDIT_FUZZED_BOOKS", "5000"))
AT_ONCE = 250


def test_damaged_workbooks_give_edits_or_words() -> None:
    found = Counter(outcome_of(seed) for seed in range(SHORT))
    assert found.keys() <= {"edits", "EditListError", "UsageError"}
    assert min(found["edits"], found["EditListError"]) > SHORT // 10  # both are tried


@pytest.mark.slow
def test_many_damaged_workbooks_give_edits_or_words_in_bounded_memory() -> None:
    def read_from(first: int) -> tuple[int, list[str]]:
        command = [sys.executable, "-W", "ignore", "-m", "tests.edits.excel.fuzzed_books", str(first), str(AT_ONCE)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        return done.returncode, done.stdout.splitlines()

    with ThreadPoolExecutor(2) as pool:
        runs = [*pool.map(read_from, range(0, LONG, AT_ONCE))]
    failed = [lines[-1] for code, lines in runs if code]
    assert failed == []  # the seeds of which a process died
    print(Counter(line.split()[1] for _, lines in runs for line in lines))
