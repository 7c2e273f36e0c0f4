"""Where tasks wait: one Protocol, folders and SQS behind it, leases, and the door that opens one.

Imports the vocabulary and ``remote``.
It carries texts and does not read them; the queue in memory is in ``testing``.
"""
