"""Speed and memory, as ratios against named baselines of the same run; ``make bench``."""
