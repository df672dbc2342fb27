"""Results that are used again, each only where asking anew would say the same."""
