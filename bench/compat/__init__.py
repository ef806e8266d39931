"""Prove the implementations on a release of torch, and keep what was found for each release."""
