"""Edit lists: CSV, Parquet, JSON lines and Excel in three forms, read into one frame of edits."""

from bulkedit.edits.options import EditList, ReadOptions
from bulkedit.edits.problems import SET_ASIDE, asking_nothing, problem_text
from bulkedit.edits.reader import read

__all__ = ["SET_ASIDE", "EditList", "ReadOptions", "asking_nothing", "problem_text", "read"]
