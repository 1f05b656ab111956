"""Prints where the CPU of the tests goes, that of their child processes included: `make test-times`.

A plugin (`-p tests.times`), without `-n`: the children of a worker are not those of the process that prints.
"""

from __future__ import annotations

import resource
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Generator

SHOWN = 20


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of CPU of this process, of the children that have ended, and of the clock."""

    own: float
    children: float
    wall: float

    @classmethod
    def by_now(cls) -> Spent:
        own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return cls(own.ru_utime + own.ru_stime, children.ru_utime + children.ru_stime, time.perf_counter())

    def since(self, before: Spent) -> Spent:
        return Spent(self.own - before.own, self.children - before.children, self.wall - before.wall)

    @property
    def cpu(self) -> float:
        return self.own + self.children

    def line(self, name: str) -> str:
        return f"{self.cpu:8.2f} {self.children:8.2f} {self.wall:8.2f}  {name}"


spent: dict[str, Spent] = {}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    before = Spent.by_now()
    result = yield
    spent[item.nodeid] = Spent.by_now().since(before)
    return result


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.section("seconds: CPU, of it children, wall")
    for name in sorted(spent, key=lambda name: -spent[name].cpu)[:SHOWN]:
        terminalreporter.write_line(spent[name].line(name))
    files: Counter[str] = Counter()
    for name, one in spent.items():
        files[name.partition("::")[0]] += round(one.cpu * 1000)
    terminalreporter.section(f"seconds of CPU by file; {sum(files.values()) / 1000:.0f} in all")
    for name, thousandths in files.most_common(SHOWN):
        terminalreporter.write_line(f"{thousandths / 1000:8.2f}  {name}")
