"""What operators ask: plan, submit, status, explain, redrive, reconcile, doctor, mosaic, samples.

Imports ``fleet`` and everything below it.
Values in, values out; nothing is printed and no option is parsed.
"""
