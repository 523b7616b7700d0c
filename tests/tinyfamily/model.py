"""A generative model of a few hundred weights."""

from typing import Any

import torch
from torch import Tensor, nn

from gan.families.contract import Batch, ImageShape, Latents, Phase, Variant
from tinyfamily.options import TinyOptions


class TinyGenerator(nn.Module):
    def __init__(self, z_dim: int, shape: ImageShape):
        super().__init__()
        self.shape = shape
        self.linear = nn.Linear(z_dim + shape.labels, 16)
        self.norm = nn.BatchNorm1d(16)
        self.out = nn.Linear(16, shape.channels * shape.size[0] * shape.size[1])

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        x = self.norm(self.linear(torch.cat([z, labels], dim=1))).relu()
        x = self.out(x).view(-1, self.shape.channels, *self.shape.size)
        return torch.tanh(x + 0.01 * torch.randn_like(x))  # noise inputs, as a StyleGAN2 has


class Tiny(Variant):
    p: Tensor

    def __init__(self, options: Any, shape: ImageShape, batch: int):
        super().__init__(options, shape, batch)
        self.generator = self.build_kept(options, shape)
        self.discriminator = nn.Sequential(
            nn.Flatten(),
            nn.Linear(shape.channels * shape.size[0] * shape.size[1], 16),
            nn.LeakyReLU(0.2),
            nn.Linear(16, 1),
        )
        self.register_buffer("p", torch.tensor(float(options.p)))
        self.step = 0

    @staticmethod
    def build_kept(options: TinyOptions, shape: ImageShape) -> nn.Module:
        return TinyGenerator(options.z_dim, shape)

    def kept(self) -> nn.Module:
        return self.generator

    def phases(self) -> tuple[Phase, ...]:
        return Phase("Gmain", "G"), Phase("Dmain", "D"), Phase("Dr1", "D", 4)

    def networks(self) -> dict[str, nn.Module]:
        return {"G": self.generator, "D": self.discriminator}

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            name: torch.optim.Adam(net.parameters(), self.options.lr, (0.0, 0.99))
            for name, net in self.networks().items()
        }

    def loss(self, phase: str, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        if phase == "Dr1":
            real = batch.real.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(self.discriminator(real).sum(), real, create_graph=True)
            return gradient.square().sum() / len(real), {}
        z = torch.randn(len(batch.real), self.options.z_dim)
        fake = self.discriminator(self.generator(z, batch.labels))
        if phase == "Gmain":
            loss = nn.functional.softplus(-fake).mean()
            if self.options.fail_at == self.step:
                loss = loss * float("nan")
            return loss, {"loss/G": loss.detach(), "logits/fake": fake.mean().detach()}
        real = self.discriminator(batch.real)
        loss = nn.functional.softplus(fake).mean() + nn.functional.softplus(-real).mean()
        return loss, {"loss/D": loss.detach(), "logits/real": real.mean().detach()}

    def ema_beta(self, seen: int) -> float:
        return 0.5 ** (self.batch / max(1e-8, min(500.0, 0.05 * seen)))

    def end_step(self, step: int) -> dict[str, Tensor]:
        self.step = step + 1
        return {"ada/p": self.p}

    @staticmethod
    def draw(kept: nn.Module, request: Latents) -> Tensor:
        return kept(request.z * request.truncation, request.labels)
