"""A small true world for demonstrations, tests and benchmarks: made up, and labeled so.

``demoworld`` and ``regionworld`` write worlds. The land is in ``landscape``, ``parcels``,
``landcovers`` and ``spectra``; its files are in ``rasters``, ``geomadstac``, ``outline`` and
``regionfiles``. Imports the vocabulary and the names of bands.
Nothing random that is not seeded: the same place is always the same land.
"""
