"""One tile's path: a task made ready, its memory, its run, what is published.

Imports everything below it: sources, pixels, core, results, site.
No queue, no other tile and no command line.
"""
