"""Model files: a safe container, the trees in it as plain arrays, and their provenance.

Imports the vocabulary and ``core``.
Nothing that executes what it reads, and nothing that fits a model.
"""
