"""The gate for CI: compare the code of two commits in one process, and fail on regressions."""
