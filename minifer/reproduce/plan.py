"""What is trained for the reproduction, in two sizes: `quick` in under half an hour on two cores, `full` in five hours.

The arms of the ablation are shortened before the three networks are: differences show early, heights do not.
"""

from dataclasses import dataclass

from minifer import config
from minifer.config import LATE_BLOCKS, NO_AUGMENTATION, TrainConfig

# Table 2, with the balancing of section 3.2. Attention follows blocks 6 to 13: after the first five it would cost
# several times the rest of the network (`minifer cost --model mha` shows how much).
TABLE_2 = config.replace(config.PRESETS["paper"], attention_blocks=LATE_BLOCKS, balance="nearmiss-smote")


@dataclass(frozen=True)
class Plan:
    """How much is done."""

    rows: int  # training pictures to use, spread evenly over the archive; 0 means all
    network: TrainConfig  # settings of the three networks of table 3
    arm: TrainConfig  # settings that all arms of the ablation start from
    seeds: int  # runs of each arm, with seeds 0, 1, ...
    everywhere: int  # epochs of the paper's own form, attention after all 13 blocks; 0 leaves it out
    meaning: str


PLANS = {
    "quick": Plan(
        rows=7200,
        # Heads as narrow as the network: queries 64 wide, as at full width, would be most of its arithmetic.
        network=config.replace(TABLE_2, alpha=0.5, head_units=32, epochs=12, early_stopping=8, plateau_patience=2),
        arm=TrainConfig(
            model="skip", alpha=0.25, head_units=16, epochs=5, schedule="cosine", warmup=0.5, **NO_AUGMENTATION
        ),
        seeds=3,
        everywhere=0,
        meaning="a quarter of the training pictures, half or a quarter of the width, few epochs: the shape of the "
        "results, not their height",
    ),
    "full": Plan(
        rows=0,
        network=config.replace(TABLE_2, early_stopping=10),
        arm=TrainConfig(model="skip", alpha=0.5, epochs=12, schedule="cosine", warmup=1.0, **NO_AUGMENTATION),
        seeds=3,
        everywhere=10,
        meaning="all training pictures, the paper's width and up to 100 epochs for the three networks; half the width "
        "and 12 epochs for each run of the ablation",
    ),
}

BASE = "skip"
AUGMENTATION = {name: getattr(TrainConfig(), name) for name in NO_AUGMENTATION}

# arm of the ablation: (what is asked, changes to plan.arm, on cropped pictures)
ARMS = {
    "plain": ("network", {"model": "plain"}, True),
    BASE: ("network", {}, True),
    "mha": ("network", {"model": "mha"}, True),
    "class weights": ("balancing", {"balance": "weights"}, True),
    "NearMiss + SMOTE": ("balancing", {"balance": "nearmiss-smote"}, True),
    "augmentation": ("balancing", AUGMENTATION, True),
    "whole pictures": ("cropping", {}, False),
}
