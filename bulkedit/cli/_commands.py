"""The commands and their summaries, in order of use. `--help` needs no more, so it imports no command's module."""

from __future__ import annotations

from typing import Final, NamedTuple


class CommandPlace(NamedTuple):
    """The module of a command's function, and the first line of its help."""

    module: str  # in the package bulkedit.cli; the function has the command's name
    summary: str


# a test compares the summaries with the docstrings in `bulkedit.cli._parameters`
COMMANDS: Final = {
    "demo": CommandPlace(
        "demo", "Watch an edit list become applied edits and a ledger: no account, no network, under a minute."
    ),
    "plan": CommandPlace(
        "plan",
        "Check an edit list and plan its calls. Changes nothing in the data store.",
    ),
    "apply": CommandPlace(
        "apply",
        "Apply a plan or an edit list. On a terminal, asks for confirmation first.",
    ),
    "resume": CommandPlace(
        "apply",
        "Continue a stopped run: first calls with an unknown outcome, then the rest.",
    ),
    "status": CommandPlace(
        "status",
        "Show the progress of a run, also while it is running.",
    ),
    "runs": CommandPlace(
        "runs",
        "List runs and plans, with their state, size and age.",
    ),
    "runs prune": CommandPlace(
        "runs",
        "Delete runs that are done, and plans that no run applies. Asks for confirmation first.",
    ),
    "report": CommandPlace(
        "report", "Show the outcome of a run: counts, and each edit that was not applied, with the reason."
    ),
    "verify": CommandPlace(
        "verify",
        "Read the image sets that a run has changed, compare every applied edit, and list the differences.",
    ),
    "trail": CommandPlace(
        "trail",
        "Compare a run with CloudTrail: what AWS has recorded of it, and who else wrote to its image sets.",
    ),
    "revert": CommandPlace(
        "revert", "Plan to undo a run: set each image set back to its version before the run. Changes nothing yet."
    ),
    "inventory": CommandPlace(
        "inventory", "Write an inventory of a data store: every image set with its study, patient and accession number."
    ),
    "deid": CommandPlace(
        "deid",
        "Write an edit list that de-identifies image sets, to review, plan and apply like any other list.",
    ),
    "audit": CommandPlace("audit", "Search for data that still identifies patients after a de-identification run."),
    "clean": CommandPlace(
        "clean", "Remove drafts that a kill or a power cut has left. They contain values of edits or metadata."
    ),
    "emulate": CommandPlace(
        "emulate",
        "Run a local HealthImaging for any AWS SDK or the AWS CLI. Ctrl-C stops it.",
    ),
}
# the commands that do nothing but print
PRINTING: Final = frozenset({"status", "runs", "report"})
