"""Explore the states of a run at a scope of your choice; print what was seen, and scripts of what is wrong."""

from __future__ import annotations

import argparse
from dataclasses import fields
from itertools import product

from bulkedit.options.running import OnConflict
from tests.runs.model import cases
from tests.runs.model.explore import checked
from tests.runs.model.service import Switches
from tests.runs.model.state import Scope


def main() -> int:
    """Print a line for each list, policy and service; the exit code is 1 if something is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="append", help="name of a list of edits; default: all")
    parser.add_argument("--policy", action="append", type=OnConflict, help="default: both")
    for field in fields(Scope):
        parser.add_argument(f"--{field.name}", type=int, default=field.default, help="how many; default: %(default)s")
    for field in fields(Switches):
        parser.add_argument(f"--{field.name}", help="of the service; default: combinations of all switches")
    asked = parser.parse_args()
    scope = Scope(**{field.name: getattr(asked, field.name) for field in fields(Scope)})
    chosen = {field.name: value for field in fields(Switches) if (value := getattr(asked, field.name)) is not None}
    services = [Switches(**chosen)] if chosen else cases.COVERING
    states = steps = wrong = 0
    for name, policy, switches in product(asked.list or cases.NAMES, asked.policy or OnConflict, services):
        found = checked(cases.case(name, switches, policy), scope)
        print(f"{name}, {policy}, {switches}: {found.line()}", flush=True)
        if found.wrong:
            print(found.told(), flush=True)
        states, steps, wrong = states + found.states, steps + found.steps, wrong + len(found.wrong)
    print(f"all: {states:,} states, {steps:,} steps, {wrong:,} wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
