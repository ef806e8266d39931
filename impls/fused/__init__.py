"""Contenders with a backward of their own, in the memory and the passes that they need."""
