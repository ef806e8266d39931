"""What is asked: a Case, the data and state that make it real, and the calls that are measured."""
