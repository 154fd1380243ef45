"""Networks built from the layers."""

from minifer.models.mobilenet import BLOCKS, MobileNet, mobilenet

__all__ = ["BLOCKS", "MobileNet", "mobilenet"]
