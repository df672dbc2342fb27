"""Content out of the stores and, with time, out of the log; and the proof that it is gone."""

ERASED = "What this answer was made from has been erased."
"""The notice of a turn whose text and passages were taken out of it."""
PASSAGE_ERASED = "A passage that this answer did not quote has been erased."
"""The notice of a turn that still says what it said."""
REPEATED = "This is an earlier answer; its question has been erased."
"""The first notice of a turn that repeats an answer whose question was taken out of it."""
