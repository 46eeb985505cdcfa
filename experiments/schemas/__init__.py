"""JSON Schemas of what people write and of what a run leaves, made from the models."""
