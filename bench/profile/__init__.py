"""Profile the steps of a variant: traces, operators, memory over a step, flame graphs."""
