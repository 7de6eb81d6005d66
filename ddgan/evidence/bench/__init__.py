"""Benchmarks whose numbers the README quotes. A benchmark prints the numbers of one run and asserts nothing."""
