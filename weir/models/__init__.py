"""Language models behind one protocol, and the extractive one that needs none."""
