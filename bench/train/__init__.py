"""The documents' experiment: train a small network with two-dimensional features on each loss."""
