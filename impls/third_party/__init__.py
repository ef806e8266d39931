"""Contenders that other libraries compute, one file a library, imported where it is built."""
