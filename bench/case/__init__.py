"""Define what to measure: a Case, its inputs and initial state, and the calls to measure."""
