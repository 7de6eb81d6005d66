"""Networks, their configurations, and their files."""
