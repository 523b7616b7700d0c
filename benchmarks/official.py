"""The official StyleGAN2-ADA program (NVlabs/stylegan2-ada-pytorch) as a side of `benchmarks/steps.py`.

Its checkout lies elsewhere and stays as it is. Two things are put in their place while it runs: the derivatives of
`grid_sample`, which need PyTorch 1.7 to 1.9 there, and without which its R1 does not run; and the loader of its
kernels, which looks in `sys.modules` for what pybind11 3 does not enter there. Without kernels it would take its slow
functions of PyTorch with no more than a warning: an error here.
"""

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch

from gan.augment import BLIT, COLOUR, GEOMETRY
from gan.errors import GanError
from gan.families.contract import Batch
from gan.ops import build

AUGMENTATIONS = {  # its keywords, by our names
    "none": {},
    "bgc": dict.fromkeys(BLIT + GEOMETRY + COLOUR, 1.0),
}
FASTEST = {"num_fp16_res": 4, "conv_clamp": 256}  # its own settings for mixed precision; NHWC beside them


def phases(
    path: Path, options: dict[str, Any], batch: Batch, device: torch.device, p: float, *, fastest: bool = False
) -> dict[str, Callable[[], None]]:
    """One optimizer step of each of its phases, under our names, in float32.

    path: of the checkout; options: of our StyleGAN2, whose networks its own then equal to the last parameter; p: of the
    augmentation; fastest: float16 at the four highest resolutions in channels_last, and TF32, which are for a GPU.
    `GanError` if its kernels cannot be built for a GPU.
    """
    sys.path.insert(0, str(path))
    if device.type == "cuda":
        load_kernels(path)
    from torch_utils.ops import grid_sample_gradfix  # type: ignore[import-not-found]
    from training.augment import AugmentPipe  # type: ignore[import-not-found]
    from training.loss import StyleGAN2Loss  # type: ignore[import-not-found]

    grid_sample_gradfix.grid_sample = _GridSample.apply
    generator, discriminator = (network.to(device) for network in _networks(options, batch, fastest))
    pipe = None
    if options["augment"] != "none":
        pipe = AugmentPipe(**AUGMENTATIONS[options["augment"]]).to(device).requires_grad_(False)
        pipe.p.fill_(p)
    loss = StyleGAN2Loss(device, generator.mapping, generator.synthesis, discriminator, pipe, r1_gamma=1.0)
    optimizers = {
        key: torch.optim.Adam(network.parameters(), lr=0.0025 * lazy, betas=(0.0, 0.99**lazy), eps=1e-8)
        for key, network, lazy in (("G", generator, 4 / 5), ("D", discriminator, 16 / 17))
    }

    def step(name: str, key: str, every: int) -> None:
        torch.backends.cudnn.benchmark = True  # as its training loop does
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = fastest
        generator.requires_grad_(key == "G")
        discriminator.requires_grad_(key == "D")
        z = torch.randn(len(batch.real), options["z_dim"], device=device)
        loss.accumulate_gradients(name, batch.real, batch.labels, z, batch.labels, True, every)
        optimizers[key].step()
        optimizers[key].zero_grad(set_to_none=True)
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = False

    return {
        "G": lambda: step("Gmain", "G", 1),
        "Gpl": lambda: step("Greg", "G", 4),
        "D": lambda: step("Dmain", "D", 1),
        "Dr1": lambda: step("Dreg", "D", 16),
    }


def load_kernels(path: Path, names: Sequence[str] = ("bias_act", "upfirdn2d")) -> None:
    """Build its kernels, or load those that are built (`TORCH_EXTENSIONS_DIR`); `GanError` if that fails."""
    sys.path.insert(0, str(path))
    from torch_utils import custom_ops  # type: ignore[import-not-found]

    custom_ops.get_plugin = _plugin
    for name in names:
        operation = importlib.import_module(f"torch_utils.ops.{name}")
        if not operation._init():
            raise GanError(
                f"{operation.__file__}: its kernels do not build, the warning above says why; with the slow functions "
                f"in their place the official program is not to be timed"
            )


def _plugin(name: str, sources: list[str], extra_cuda_cflags: list[str]) -> Any:
    """Headers that a toolkit may lack (cusparse.h) come with the packages of torch's CUDA."""
    from torch.utils import cpp_extension  # not above: without a GPU it warns when it is imported

    cpp_extension.CUDA_HOME = str(build.find_toolkit().root)
    packaged = [word for root in build._pip_roots() for word in ("-isystem", str(root / "include"))]
    return cpp_extension.load(name, sources, extra_cflags=packaged, extra_cuda_cflags=[*extra_cuda_cflags, *packaged])


def _networks(options: dict[str, Any], batch: Batch, fastest: bool) -> tuple[torch.nn.Module, torch.nn.Module]:
    from training.networks import Discriminator, Generator  # type: ignore[import-not-found]

    width = {"channel_base": options["channel_base"], "channel_max": options["channel_max"]}
    image = {"img_resolution": batch.real.shape[-1], "img_channels": batch.real.shape[1], "c_dim": 0}
    mixed = FASTEST if fastest else {}
    order = {"fp16_channels_last": True} if fastest else {}
    generator = Generator(
        z_dim=options["z_dim"],
        w_dim=options["w_dim"],
        mapping_kwargs={"num_layers": options["mapping_layers"]},
        synthesis_kwargs=width | mixed | order,
        **image,
    )
    epilogue = {"mbstd_group_size": options["mbstd_group"]}
    return generator, Discriminator(epilogue_kwargs=epilogue, block_kwargs=order, **width, **mixed, **image)


class _GridSample(torch.autograd.Function):
    """Bilinear, zeros outside, no gradient of the grid; twice differentiable in the image."""

    @staticmethod
    def forward(ctx: Any, images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(images, grid)
        return torch.ops.aten.grid_sampler_2d(images, grid, 0, 0, False)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple:
        return _GridSampleAdjoint.apply(gradients[0], *ctx.saved_tensors), None


class _GridSampleAdjoint(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gradient: torch.Tensor, images: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(grid)
        return torch.ops.aten.grid_sampler_2d_backward(gradient, images, grid, 0, 0, False, [True, False])[0]

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple:
        return _GridSample.apply(gradients[0], *ctx.saved_tensors), None, None


if __name__ == "__main__":  # official.py CHECKOUT KERNEL...: build its kernels ahead
    load_kernels(Path(sys.argv[1]), sys.argv[2:])
