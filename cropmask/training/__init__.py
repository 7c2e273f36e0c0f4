"""Models from samples: fitting, validation, cards; boundaries from country outlines.

Imports the vocabulary, ``core`` and ``modelfile``; scikit-learn is loaded here only.
Never needed to run a tile.
"""
