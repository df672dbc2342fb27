"""The hands of agent tasks: one file a tool, and the worker that runs them (worker.py)."""
