"""Contenders from other libraries, one file per library, imported when one is built."""
