"""Bytes from folders, http and S3: addresses, zones, limits, requests, retries, credentials.

Imports the vocabulary.
No STAC, no rasters and no formats of ours: whoever asks knows what the bytes mean.
"""
