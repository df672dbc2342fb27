"""Planners: what a task does next, from what it was asked for and what has happened."""
