"""Index versions: which exist, which of them answers, and how their stores and groups are called."""
