"""Kernels that serve faces alone: the HOG scan, descriptors, regression trees, boxes, resizing."""
