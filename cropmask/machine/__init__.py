"""The machine and the process: limits, memory, child processes, signals, heartbeat, metrics.

Imports the vocabulary and ``remote``.
Nothing about tiles, tasks or rasters.
"""
