"""Policies: architectures and splits, the multilayer perceptron, re-basin, resizing, standardised observations."""
