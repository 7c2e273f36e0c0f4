"""A small true world for demonstrations, tests and benchmarks: made up, and labeled so.

Imports the vocabulary and the names of bands.
Nothing random that is not seeded: the same place is always the same land.
"""
