"""Networks built from the layers."""

from minifer.models.mobilenet import BLOCKS, EVEN_BLOCKS, TABLES, MobileNet, mobilenet

__all__ = ["BLOCKS", "EVEN_BLOCKS", "TABLES", "MobileNet", "mobilenet"]
