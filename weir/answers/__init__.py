"""How a question becomes an answer: the fold of its frames, the order in which text and citations are released."""
