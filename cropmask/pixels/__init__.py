"""Rasters in: a tile's inputs as strips of raw pixels, on its grid or resampled to it.

Imports the vocabulary, ``core``, ``remote`` and ``sources``.
No arithmetic of features or masks: that is ``core``; nothing is written.
"""
