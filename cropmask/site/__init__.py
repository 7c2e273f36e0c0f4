"""The environment, opened: places, limits, prices, and the options that commands need for it.

Imports the vocabulary, the doors of ``store`` and ``queue``, ``machine``, and the made-up world.
No work is done here: a site is a value, and opens what it names.
"""
