"""Implementations in C++: a few operators each, without a dispatch per elementary operation."""
