"""The gate for CI: one commit held against another, their code side by side in one process."""
