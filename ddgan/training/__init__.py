"""How weights come to be: losses, pairs of levels, updates, and runs in a directory."""
