"""The options of DCGAN, under another name: a family has a class of its own."""

from dataclasses import dataclass

from gan.families.dcgan.options import DCGANOptions


@dataclass(frozen=True)
class PausedOptions(DCGANOptions):
    """Those of DCGAN."""
