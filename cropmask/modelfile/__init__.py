"""Model files: a safe container, trees as plain arrays, foreign models read as data, provenance.

Imports the vocabulary and ``core``.
Nothing that executes what it reads, and nothing that fits a model.
"""
