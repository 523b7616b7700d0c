"""A mask of several labels as networks see and draw it: a plane for each label.

As one grey channel, labels have an order: a smooth network passes 1 on the way from 0 to 2, so that every region of
label 2 gets a rim of label 1. Planes have none. Outside of networks a mask is one channel.
"""

import torch
from torch import Tensor

MOST = 32  # labels with planes; a mask with more is an atlas and stays one channel


def spread(labels: Tensor, largest: int) -> Tensor:
    """Planes float32 [N, largest, *size] of the label numbers [N, *size], 0 to ``largest``.

    The plane of label k, the k-th, is 1 where the label is k and -1 elsewhere; where the label is 0 all are -1.
    """
    numbers = torch.arange(1, largest + 1, device=labels.device).reshape(-1, *[1] * (labels.ndim - 1))
    return (labels[:, None] == numbers).float().mul_(2).sub_(1)


def collapse(images: Tensor, masks: int) -> Tensor:
    """Images [N, C - masks + 1, *size] of ``images`` [N, C, *size] whose last ``masks`` channels are planes.

    The last channel has the label of the largest plane where that is above 0, else 0, as 2 label / masks - 1: from -1
    to 1, as `gan.scales.generated_to_labels` reads it. It is NaN where a plane is NaN or infinite. A mask of one
    channel, or none, is left as it is.
    """
    if masks < 2:
        return images
    contrasts, planes = images.tensor_split((images.shape[1] - masks,), 1)
    largest, place = planes.max(1, keepdim=True)
    label = torch.where(largest > 0, place + 1, 0).to(images.dtype)
    broken = ~torch.isfinite(planes).all(1, keepdim=True)
    return torch.cat([contrasts, (label * (2 / masks) - 1).masked_fill(broken, torch.nan)], 1)
