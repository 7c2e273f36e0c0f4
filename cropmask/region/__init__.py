"""Regions as data: their files, and whom their maps are owed to.

Imports the vocabulary only: ``errors`` and ``product``.
Nothing of a region is code here, and no boundary is read: ``sources`` does that.
"""
