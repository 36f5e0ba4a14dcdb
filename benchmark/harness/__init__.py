"""Measures generators: their isolation, evaluation, novelty, round trips, conformance."""
