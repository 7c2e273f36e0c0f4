"""Results as files: COGs, pictures, the dataset of a tile, listings and mirrors of many.

Imports the vocabulary, ``core``, ``stac``, ``store`` and ``remote``.
It decides nothing: which results, and whether, is said by ``tile`` and ``operate``.
"""
