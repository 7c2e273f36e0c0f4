"""The cloud: one CDK application, one settings file per environment.

Imports names from :mod:`cropmask.contract` and :mod:`cropmask.product`, and nothing else of the
package: its computing packages are not installed here.
"""
