"""The results as pictures: three readings of the same predictions, and the ablation's runs."""

import numpy as np

from minifer.report.canvas import BLUE, GREY, INK, ORANGE, SKY, new_figure, plain_frame
from minifer.reproduce import printed
from minifer.reproduce.plan import ARMS, BASE


def three_readings(results):
    """Draw top-1, mean recall and binary accuracy of each network, and what the study printed."""
    networks = {key: result for key, result in results["networks"].items() if key in printed.TABLE_3}
    figure, axes = new_figure(8.6, 3.4)
    spot = axes[0, 0]
    readings = [
        ("top-1", BLUE, lambda key: networks[key]["top1"]),
        ("mean recall", SKY, lambda key: networks[key]["balanced_accuracy"]),
        ("binary accuracy", ORANGE, lambda key: networks[key]["binary_accuracy"]),
        ("printed as accuracy", GREY, lambda key: printed.TABLE_3[key]["accuracy"]),
    ]
    width = 0.2
    for number, (name, colour, value) in enumerate(readings):
        places = np.arange(len(networks)) + (number - 1.5) * width
        heights = [100 * value(key) for key in networks]
        spot.bar(places, heights, width * 0.92, color=colour, label=name)
        for place, height in zip(places, heights, strict=True):
            spot.text(place, height + 1, f"{height:.1f}", ha="center", size=8.5, color=INK)
    never = 100 * 6 / 7
    spot.axhline(never, color=ORANGE, linewidth=1, linestyle=":")
    spot.text(len(networks) - 0.42, never, " 85.7: never\n say yes", va="center", size=8.5, color=ORANGE, clip_on=False)
    spot.set_xticks(range(len(networks)), [printed.NAMES[key] for key in networks], size=10)
    spot.set_ylim(0, 108)
    spot.set_ylabel("%", size=9)
    spot.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=4, frameon=False, fontsize=9)
    plain_frame(spot)
    return figure


def ablation(results):
    """Draw every run of the ablation as a dot and the arm's mean as a line, top-1 and mean recall side by side."""
    arms = list(ARMS)[::-1]
    figure, axes = new_figure(9.5, 0.42 * len(arms) + 1.1, 1, 2, sharey=True)
    for spot, key, title in zip(axes[0], ("top1", "balanced_accuracy"), ("top-1, %", "mean recall, %"), strict=True):
        base = np.mean([100 * run[key] for run in results["arms"][BASE]])
        spot.axvline(base, color="#999999", linewidth=1, linestyle=":")
        for place, arm in enumerate(arms):
            values = [100 * run[key] for run in results["arms"][arm]]
            colour = INK if arm == BASE else BLUE
            spot.plot(values, [place] * len(values), "o", color=colour, markersize=6, alpha=0.6)
            spot.plot([np.mean(values)] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=2)
        spot.set_title(title, loc="left", size=10, weight="bold", color=INK)
        spot.set_yticks(range(len(arms)), [f"{arm} (the base)" if arm == BASE else arm for arm in arms], size=10)
        plain_frame(spot, "x")
    return figure
