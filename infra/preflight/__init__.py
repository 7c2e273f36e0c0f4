"""Whether an account is ready for an environment, before anything is created: ``make preflight``.

Reads only. Asks AWS by boto3, and the makers of charts and images over HTTPS; needs no CDK.
"""
