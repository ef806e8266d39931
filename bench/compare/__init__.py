"""Two or more measurements of the same cells beside each other."""
