"""Hostile inputs, one file for each kind: none may end in a traceback, a hang or a foreign read."""
