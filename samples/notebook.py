# %% [markdown]
# # Clean up study descriptions
#
# A notebook in the percent format: Jupyter (with Jupytext), VS Code and PyCharm open it as cells. It plans edits,
# applies them, shows their outcomes, verifies them, and reverts them. Nothing is written before the cell with `apply`.

# %%
import os

import polars as pl

import bulkedit

DATASTORE = os.environ["BULKEDIT_DATASTORE"]

# %% [markdown]
# Edits are a frame: one row per image set and one column per attribute, or any other form of an edit list.

# %%
edits = pl.read_csv("descriptions.csv", infer_schema=False)
edits = edits.with_columns(pl.col("StudyDescription").str.strip_chars().str.to_uppercase())
edits

# %% [markdown]
# Planning writes nothing to the data store. The counts show what the plan will do.

# %%
plan = await bulkedit.plan(edits, DATASTORE, folder="descriptions.plan")
plan.counts

# %% [markdown]
# ## Apply
# Interrupting this cell loses nothing: `await bulkedit.resume("descriptions.run")` resumes the run. `stop.send()`, for
# example from a button, ends it cleanly after the calls in flight.


# %%
def show(progress: bulkedit.Advance) -> None:
    """Print a line that overwrites itself; any progress bar can be used instead."""
    print(f"{progress.phase}: {progress.done} of {progress.total}", end="\r")


stop = bulkedit.StopSignal()
result = await bulkedit.apply(plan, run="descriptions.run", progress=show, stop=stop)
result.summary

# %%
result.edits.group_by("outcome", "reason").len().collect()

# %% [markdown]
# ## Verify it
# Every applied edit is compared with the data store.

# %%
seen = await bulkedit.verify("descriptions.run", bulkedit.VerifyOptions(history=True))
assert seen.verification is not None  # it is None while image sets are left to read
seen.verification.differences().collect(), seen.verification.kept().collect()

# %% [markdown]
# ## Revert it
# A revert is a plan too. Later changes by another writer are never overwritten.

# %%
undo = await bulkedit.revert("descriptions.run", folder="descriptions.undo")
undone = await bulkedit.apply(undo.plan, run="descriptions.undo.run")
undone.summary
