"""Results as files: COGs and pictures, datasets written and found, the cache of items, HTML pages.

Imports the vocabulary, ``core``, ``stac``, ``store`` and ``remote``.
It decides nothing: which results, and whether, is said by ``tile`` and ``operate``.
"""
