"""One file a format. Each has `parse(content, title, charset) -> ParsedDocument` and knows nothing of chunks."""
