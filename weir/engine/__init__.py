"""The durable engine's memory: tasks as snapshots, timers, what it does with a record. `streams/agents.py` runs it."""
