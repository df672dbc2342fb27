"""Content out of the stores and, with time, out of the log; and the proof that it is gone."""
