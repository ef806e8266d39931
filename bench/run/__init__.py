"""A run: the plan, the session that carries it out, and the records that it keeps."""
