"""Arrays become bytes, pixels and files."""
