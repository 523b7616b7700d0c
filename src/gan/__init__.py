"""Controlled comparisons of generative adversarial networks on small medical image data sets."""

import os
import sys

__version__ = "0.1.0"

# Progress bars redraw ten times a second; where nobody watches a terminal, a line in ten seconds is enough.
if sys.stderr is not None and not sys.stderr.isatty():
    os.environ.setdefault("TQDM_MININTERVAL", "10")
