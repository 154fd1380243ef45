"""The roofline picture: rates over arithmetic intensity, under what the machine can do at most.

Source: Williams, Waterman & Patterson, Roofline: an insightful visual performance model, 2009.
"""

import numpy as np


def draw_roofline(series, limits, path, title):
    """Draw series of points under the ceilings, the dict that ceilings.ceilings returns.

    series is a list of (label, style, [(operations per byte, GFLOP/s)]); style holds settings of matplotlib's plot.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    axes = figure.subplots()
    intensity = np.logspace(-1, 2.6, 200)
    for name, label in (("memory", "memory"), ("cache", "second-level cache")):
        roof = np.minimum(limits["arithmetic"], limits[name] * intensity)
        axes.loglog(intensity, roof, lw=2, label=f"{label}: {limits[name]:.0f} GB/s")
    axes.axhline(limits["arithmetic"], color="0.5", lw=1)
    axes.annotate(f"arithmetic: {limits['arithmetic']:.0f} GFLOP/s", (0.12, limits["arithmetic"] * 1.08), fontsize=9)
    for label, style, points in series:
        axes.plot(*zip(*points, strict=True), ls="", ms=6, alpha=0.8, label=label, **style)
    axes.set(xlabel="floating-point operations per byte moved", ylabel="GFLOP/s", title=title)
    axes.legend(fontsize=8, ncols=2, loc="lower right")
    axes.grid(alpha=0.3, which="both")
    figure.savefig(path)
