"""The documents' experiment: a small network with features in the plane, trained with each loss."""
