"""Extractors turn grey images into features. One folder each: ``options.py`` (no torch) and ``model.py``."""
