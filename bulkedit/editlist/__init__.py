"""Edit lists: CSV, Parquet, JSON lines and Excel in three forms, read into one frame of edits."""

from bulkedit.editlist.model import EditList, ReadOptions
from bulkedit.editlist.problems import SET_ASIDE, asking_nothing, problem_text
from bulkedit.editlist.reader import read

__all__ = ["SET_ASIDE", "EditList", "ReadOptions", "asking_nothing", "problem_text", "read"]
