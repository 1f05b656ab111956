"""Edit lists: CSV, Parquet, JSON lines and Excel files in three forms, read into one frame of edits."""

from bulkedit.edits.options import EditList, ReadOptions
from bulkedit.edits.problems import SET_ASIDE, problem_text, rows_without_edits
from bulkedit.edits.reader import read

__all__ = ["SET_ASIDE", "EditList", "ReadOptions", "problem_text", "read", "rows_without_edits"]
