# %% [markdown]
# # Clean up study descriptions
#
# A notebook in the percent format: Jupyter (with Jupytext), VS Code and PyCharm open it as cells. It plans, applies,
# looks at what became of every edit, reads it back, and undoes it. Nothing is written before the cell that says
# `apply`.

# %%
import os

import polars as pl

import bulkedit

DATASTORE = os.environ["BULKEDIT_DATASTORE"]

# %% [markdown]
# Edits are a frame: one row an image set, one column an attribute, or any other form of an edit list.

# %%
edits = pl.read_csv("descriptions.csv", infer_schema=False)
edits = edits.with_columns(pl.col("StudyDescription").str.strip_chars().str.to_uppercase())
edits

# %% [markdown]
# The plan sends nothing that writes. What it will do is in its counts.

# %%
plan = await bulkedit.plan(edits, DATASTORE, folder="descriptions.plan")
plan.counts

# %% [markdown]
# ## Apply
# Interrupting this cell loses nothing: `await bulkedit.resume("descriptions.run")` goes on. `stop.send()`, of a button
# for example, ends it well: what is under way is waited for.


# %%
def show(progress: bulkedit.Advance) -> None:
    """A line that is written over; a progress bar of any library does as well."""
    print(f"{progress.phase}: {progress.done} of {progress.total}", end="\r")


stop = bulkedit.StopSignal()
result = await bulkedit.apply(plan, run="descriptions.run", progress=show, stop=stop)
result.summary

# %%
result.edits.group_by("outcome", "reason").len().collect()

# %% [markdown]
# ## Read it back
# Every applied edit is held against the store.

# %%
seen = await bulkedit.verify("descriptions.run", bulkedit.VerifyOptions(history=True))
assert seen.verification is not None  # it is None while image sets are left to read
seen.verification.differences().collect(), seen.verification.kept().collect()

# %% [markdown]
# ## Undo it
# A revert is a plan too; somebody who has written since is never overwritten.

# %%
undo = await bulkedit.revert("descriptions.run", folder="descriptions.undo")
undone = await bulkedit.apply(undo.plan, run="descriptions.undo.run")
undone.summary
