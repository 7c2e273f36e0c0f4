"""Speed and memory, as ratios against named baselines of the same run; ``make bench``.

Beside them ``coverage``: how often intervals of area and accuracy hold the truth.
"""
