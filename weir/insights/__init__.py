"""Figures by workspace and minute: counted live, which may be a little off, and recomputed exactly."""
