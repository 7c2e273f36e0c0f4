"""Bytes from folders, http and S3: addresses, requests, retries, credentials, files of our own.

Imports the vocabulary.
No STAC, no rasters and no formats of ours: whoever asks knows what the bytes mean.
"""
