"""Samples against the truth: points.py against a law, images.py against a data set."""
