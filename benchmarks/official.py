"""The official StyleGAN2-ADA program (NVlabs/stylegan2-ada-pytorch) as a side of `benchmarks/steps.py`, and whether its
networks compute the same.

    python benchmarks/official.py ~/stylegan2-ada-pytorch --equal --size 64 --batch 8
    python benchmarks/official.py ~/stylegan2-ada-pytorch --build bias_act upfirdn2d

Its checkout lies elsewhere and stays as it is. Two things are put in their place while it runs: the derivatives of
`grid_sample`, which need PyTorch 1.7 to 1.9 there, and without which its R1 does not run; and the loader of its
kernels, which looks in `sys.modules` for what pybind11 3 does not enter there. Without kernels it would take its slow
functions of PyTorch with no more than a warning: an error here.
"""

import argparse
import importlib
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from gan.augment import BLIT, COLOUR, GEOMETRY
from gan.errors import GanError
from gan.families.contract import Batch, ImageShape
from gan.families.registry import build as build_variant
from gan.families.registry import make_options
from gan.ops import build
from gan.ops.precision import full_precision

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


CLOSE = 1e-4  # the most that outputs may differ, in float32, as part of the largest one


def check(path: Path, options: dict[str, Any], shape: tuple[int, ...]) -> dict[str, float]:
    """How far the outputs of its generator and of its discriminator are from ours with equal weights, as part of the
    largest one; `GanError` if it is more than rounding.

    options: of our StyleGAN2; shape: of a batch of images. All weights, biases and strengths of noise are drawn, the
    noise is that of the networks. Its groups of the minibatch deviation are every n-th image, ours successive ones
    (`in_groups`).
    """
    sys.path.insert(0, str(path))
    count, channels, *size = shape
    ours = build_variant("stylegan2", options, ImageShape(channels, tuple(size)), count)
    z, images, none = torch.randn(count, options["z_dim"]), torch.rand(shape) * 2 - 1, torch.zeros(count, 0)
    its = _networks(options, Batch(images, none), fastest=False)
    for target, source in _places(ours, *its):
        _equal(target, source)
    order = in_groups(count, options["mbstd_group"])
    with torch.no_grad():
        made = ours.generator(z, none, noise="constant"), its[0](z, none, noise_mode="const")  # type: ignore[operator]
        logits = ours.discriminator(images[order], none), its[1](images, none)[order]  # type: ignore[operator]
    found = {}
    for name, (mine, other) in {"generator": made, "discriminator": logits}.items():
        found[name] = float((mine - other).abs().max() / other.abs().max())
        if not found[name] < CLOSE:
            raise GanError(
                f"{path}: with equal weights outputs of its {name} differ from ours by {found[name]:.2g} of the "
                f"largest; the two compute different things, and their times do not compare"
            )
    return found


def in_groups(count: int, group: int) -> torch.Tensor:
    """The order of ``count`` images in which our groups, of successive ones, are its own, of every n-th one."""
    return torch.arange(count).view(min(group, count), -1).T.flatten()


def _places(ours: Any, generator: Any, discriminator: Any) -> Iterator[tuple[torch.nn.Module, torch.nn.Module]]:
    """Each layer of ours with that of its networks which takes the same place."""
    for depth, layer in enumerate(ours.generator.mapping.layers):
        yield layer, generator.mapping.get_submodule(f"fc{depth}")
    synthesis, blocks = ours.generator.synthesis, list(generator.synthesis.children())
    blocks[0].const.data.copy_(synthesis.constant.data[0])
    layers = [layer for block in blocks for layer in (getattr(block, "conv0", None), block.conv1) if layer is not None]
    for layer, other in zip(synthesis.convs, layers, strict=True):
        yield layer, other
        yield layer.affine, other.affine
    for layer, block in zip(synthesis.images, blocks, strict=True):
        yield layer, block.torgb
        yield layer.affine, block.torgb.affine
    *blocks, last = discriminator.children()
    mine = ours.discriminator
    yield mine.from_image, blocks[0].fromrgb
    for ours_of, block in zip(mine.blocks.values(), blocks, strict=True):
        yield from ((ours_of.first, block.conv0), (ours_of.second, block.conv1), (ours_of.skip, block.skip))
    yield from ((mine.conv, last.conv), (mine.hidden, last.fc), (mine.logits, last.out))


def _equal(target: torch.nn.Module, source: torch.nn.Module) -> None:
    """The weights of ``target`` in ``source``; first biases and strengths are drawn, which begin at 0 or 1."""
    for name, parameter in target.named_parameters(recurse=False):
        if parameter.ndim < 2:
            parameter.data.normal_(0, 0.2)
        getattr(source, name).data.copy_(parameter.data)
    if "noise" in dict(target.named_buffers(recurse=False)):
        source.noise_const.copy_(target.noise)  # type: ignore[operator, union-attr]


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


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("checkout", type=Path, help="of NVlabs/stylegan2-ada-pytorch")
    parser.add_argument("--build", nargs="+", metavar="KERNEL", help="build its kernels ahead")
    parser.add_argument("--equal", action="store_true", help="compare its networks with ours at equal weights")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--channels", type=int, default=3)
    parser.add_argument("--options", type=json.loads, default={}, help="options of stylegan2, as JSON")
    given = parser.parse_args(argv)
    if given.build:
        load_kernels(given.checkout, given.build)
    if given.equal:
        full_precision()
        torch.manual_seed(0)
        options = vars(make_options("stylegan2", given.options))
        shape = given.batch, given.channels, given.size, given.size
        for name, found in check(given.checkout, options, shape).items():
            print(f"{name}: outputs of equal weights differ by {found:.2g} of the largest")


if __name__ == "__main__":
    main()
