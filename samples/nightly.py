"""A scheduled job: applies each edit list in a folder once, and exits with a code for the scheduler.

    python nightly.py FOLDER DATASTORE

The run of each list is next to it, in `<list>.run`. If the run exists, it is resumed, or skipped if it is complete, so
the job can be killed and started again at any time. Exit codes: those of bulkedit.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import bulkedit
from bulkedit.errors import EXIT_DIFFERENCE, EXIT_NOT_ALL_APPLIED, EXIT_OK, BulkeditError


async def one(edits: Path, datastore_id: str) -> int:
    """Apply and verify one list. Returns the exit code."""
    run = edits.with_suffix(".run")
    if not run.exists():
        plan = edits.with_suffix(".plan")
        if not plan.exists():
            options = bulkedit.ListOptions(on_many=bulkedit.OnMany.ALL)
            await bulkedit.plan(edits, datastore_id, folder=plan, options=options)
        result = await bulkedit.apply(plan, run=run, options=bulkedit.RunOptions(rate="0.25/s"))
    else:
        result = bulkedit.report(run)
        if not result.done:
            result = await bulkedit.resume(run)
    print(f"{edits.name}: {result.summary['applied']:,} of {result.summary['edits']:,} edits applied")
    if not result.summary["applied"]:
        return EXIT_NOT_ALL_APPLIED
    sample = bulkedit.VerifyOptions(sample=bulkedit.Sample(share=0.01), skip_archived=True)
    seen = await bulkedit.verify(run, sample)
    if seen.verification is not None and seen.counts.differences:
        return EXIT_DIFFERENCE
    return EXIT_OK if result.summary["applied"] == result.summary["edits"] else EXIT_NOT_ALL_APPLIED


async def main(lists: list[Path], datastore_id: str) -> int:
    """Apply the lists one after another. They share the update quota of the account, so running two saves no time."""
    worst = EXIT_OK
    for edits in lists:
        try:
            worst = max(worst, await one(edits, datastore_id))
        except BulkeditError as error:
            print(f"{edits.name}: {error}", file=sys.stderr)
            worst = max(worst, error.exit_code)
    return worst


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sorted(Path(sys.argv[1]).glob("*.csv")), sys.argv[2])))
