"""Networks built from the layers."""

from minifer.models.mobilenet import BLOCKS, EVEN_BLOCKS, TABLES, MobileNet, block_table, mobilenet
from minifer.models.mobilenet_v2 import V2_BLOCKS, mobilenet_v2
from minifer.models.mobilenet_v3 import V3_BLOCKS, mobilenet_v3

__all__ = [
    "BLOCKS",
    "EVEN_BLOCKS",
    "TABLES",
    "V2_BLOCKS",
    "V3_BLOCKS",
    "MobileNet",
    "block_table",
    "mobilenet",
    "mobilenet_v2",
    "mobilenet_v3",
]
