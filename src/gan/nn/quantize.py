"""Feature quantization, FQ (Zhao et al. 2020, "Feature quantization improves GAN training").

The discriminator sees each feature vector as the nearest of a few codes. The codes follow the features of real and
generated images by moving averages, so they take no gradient; a commitment loss holds the features to their codes.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from gan import parallel
from gan.ops.precision import own_dtype

UNUSED = 1e-6  # moving average of a code's uses from which on nothing can be said of its place


class Quantized(NamedTuple):
    """What a `Quantizer` did: features [P, C], the code of each [P], and mean (x - sg[code])^2, the commitment."""

    quantizer: "Quantizer"
    features: Tensor
    index: Tensor
    commitment: Tensor


class Quantizer(nn.Module):
    """[N, C, *size] -> the same, the vector of each position replaced by its nearest code, with the gradient of x.

    ``replace`` False leaves the features alone: the codes are learned, and there is a commitment to them, as in the
    published programs, which compute the quantized features and then pass on the others.
    """

    codes: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, channels: int, codes: int = 128, decay: float = 0.8, *, replace: bool = True):
        super().__init__()
        self.decay, self.replace = decay, replace
        self.register_buffer("codes", torch.randn(codes, channels))
        self.register_buffer("counts", torch.zeros(codes))
        self.register_buffer("sums", torch.zeros(codes, channels))

    def forward(self, x: Tensor, notes: list[Quantized] | None = None) -> Tensor:
        """notes: gets what was done, for `learn` and the commitment loss."""
        features = x.detach().movedim(1, -1).to(self.codes.dtype)
        with own_dtype(features):
            index = torch.cdist(features.flatten(0, -2), self.codes).argmin(dim=1)
        nearest = self.codes[index].view_as(features).movedim(-1, 1).to(x.dtype)
        if notes is not None:
            commitment = (x - nearest).float().square().mean()
            notes.append(Quantized(self, features.flatten(0, -2), index, commitment))
        return x + (nearest - x).detach() if self.replace else x

    @torch.no_grad()
    def learn(self, notes: list[Quantized]) -> Tensor:
        """One step of the moving averages of equation 8, over all ranks; returns the uses of each code [codes].

        n = d n + (1 - d) uses, m = d m + (1 - d) (sum of the code's features), code = m / n; a code that has not been
        used stays where it is. In the first step the codes are set on features, evenly spread over those in ``notes``:
        where they are drawn at random, a few take all features and the others are never used.
        """
        features, index = (torch.cat(parts) for parts in zip(*((n.features, n.index) for n in notes), strict=True))
        hits = (index[:, None] == torch.arange(len(self.codes), device=index.device)).to(features.dtype)
        uses = parallel.total(hits.sum(dim=0))
        with own_dtype(features):
            sums = parallel.total(hits.t() @ features)
        share = -(-len(self.codes) // len(notes))
        seeds = torch.cat([_spread(note.features, share) for note in notes])[: len(self.codes)]
        first = self.counts.sum() == 0
        self.counts.copy_(torch.where(first, 1, uses.lerp(self.counts, self.decay)))
        self.sums.copy_(torch.where(first, seeds, sums.lerp(self.sums, self.decay)))
        known = self.counts[:, None] > UNUSED
        self.codes.copy_(torch.where(known, self.sums / self.counts[:, None].clamp(min=UNUSED), self.codes))
        return uses


def learn(notes: list[Quantized]) -> dict[str, Tensor]:
    """Let every quantizer in ``notes`` learn from all that it has seen.

    Returns, as means over the quantizers, ``fq/usage``, the part of the codes in use, and ``fq/perplexity``,
    exp of the entropy of the codes: 1 if one code stands for everything, the number of codes if all are used alike.
    ``fq/evenness`` is the smallest perplexity as a part of the number of codes, so that no quantizer hides another.
    """
    found = []
    for quantizer in dict.fromkeys(note.quantizer for note in notes):
        uses = quantizer.learn([note for note in notes if note.quantizer is quantizer])
        shares = uses / uses.sum()
        perplexity = torch.special.entr(shares).sum().exp()
        found.append(torch.stack([(uses > 0).to(shares.dtype).mean(), perplexity, perplexity / len(shares)]))
    found = torch.stack(found)
    usage, perplexity, _ = found.mean(dim=0)
    return {"fq/usage": usage, "fq/perplexity": perplexity, "fq/evenness": found[:, 2].min()}


def _spread(features: Tensor, count: int) -> Tensor:
    """``count`` of the features [P, C] of all ranks, evenly spread: the same whatever the number of ranks."""
    here, whole = len(features), len(features) * parallel.parts()
    first = parallel.place() * here
    place = torch.arange(count, device=features.device) * whole // count - first
    mine = (place >= 0) & (place < here)
    return parallel.total(torch.where(mine[:, None], features[place.clamp(0, here - 1)], 0))
