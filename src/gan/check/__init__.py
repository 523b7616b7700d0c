"""Whether the kernels of `gan.ops` compute correctly on this GPU: ``gan check``.

`choose` asks that once for each library and GPU model, before anything is computed with them.
"""

from gan.check.trust import HELP, agreed, choose, graphs_refused, message, say

__all__ = ["HELP", "agreed", "choose", "graphs_refused", "message", "say"]
