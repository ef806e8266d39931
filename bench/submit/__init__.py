"""Submit a run to a public board: bundle it, refuse impossible bundles, measure some of it again.

A bundle is data from a stranger. It is read without unpacking anything, within fixed limits.
"""
