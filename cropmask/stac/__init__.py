"""Documents as values: items, collections and catalogs, EO3, styles and map services.

Imports the vocabulary, the figures of ``core`` and the form of model files.
Nothing is read or written here.
"""
