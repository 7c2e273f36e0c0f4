"""The command line: options in, text or JSON out, exit codes; ``cropmask`` and ``cropmask-job``.

Imports everything, but inside the commands, so that help is quick; nobody imports it.
No logic: what a command decides is decided in the room that it calls.
"""
