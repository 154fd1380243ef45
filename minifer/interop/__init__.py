"""Weights and models of other frameworks."""
