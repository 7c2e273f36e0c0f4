"""Documents as values: items, collections and catalogs, EO3, styles and map services.

Imports the vocabulary and the figures of ``core``.
Nothing is read or written here.
"""
