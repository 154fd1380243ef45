"""The computations themselves: functions on bare arrays, each as a NumPy reference and a Numba twin."""
