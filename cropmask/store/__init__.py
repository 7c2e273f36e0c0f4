"""Where results lie: one Protocol, folders and S3 behind it, and the door that opens one.

Imports the vocabulary and ``remote``.
It knows keys and bytes, not what they hold; the store in memory is in ``testing``.
"""
