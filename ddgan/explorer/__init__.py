"""A question becomes arrays: requests, sessions, posteriors, and trainings to watch. No HTML, no JSON text."""
