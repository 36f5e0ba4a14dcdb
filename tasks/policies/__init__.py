"""Policies: architectures and splits, the perceptron, matching of neurons, resizing, standardised observations."""
