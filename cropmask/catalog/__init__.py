"""The STAC catalog of results: built, checked, published, served, browsed, indexed.

Imports ``results``, ``training`` (cards) and everything below them.
No result is made here, and nothing is computed of pixels but pictures.
"""
