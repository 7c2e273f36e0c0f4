"""Where inputs come from: catalogs and STAC APIs, GeoMAD items, layers, boundaries, points.

Imports the vocabulary, ``core`` (names of bands) and ``remote``.
No pixel is read here, and no foreign document leaves it unparsed.
"""
