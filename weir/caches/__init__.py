"""Results that are used again, each only where asking anew would say the same."""

VECTORS, RETRIEVAL, ANSWERS = "vectors", "retrieval", "answers"
"""The caches, as the figures name them."""
HOUR = 3_600_000
"""Milliseconds."""
EVERYWHERE = ""
"""In place of a workspace, for what belongs to none: a vector is the same in each."""
MISSED = "missed"
"""What came of a lookup that could have been a hit."""
HITS = frozenset({"hit", "exact", "semantic"})
FIT = HITS | {MISSED}
"""What came of lookups that could have been hits."""
