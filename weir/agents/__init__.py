"""Tasks of agents: the pure state machine, and the planners that it asks."""
