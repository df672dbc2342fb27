"""Read models in Elasticsearch: what the log says, in a shape that can be asked by id."""
