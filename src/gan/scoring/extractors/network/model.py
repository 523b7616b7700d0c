"""Features of a network of torchvision: exactly the declared file, in the declared preparation, or an error.

Grey images are resized to a square, repeated to three channels and normalised. Weights that the layer does not need,
such as those of the classes, may be in the file or not; every key has to be known, and every needed one to be there.
"""

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from gan.config.schema import validate
from gan.errors import GanError
from gan.files import DAMAGED, checksum
from gan.scoring.extractors import registry
from gan.scoring.extractors.batches import in_full_batches
from gan.scoring.extractors.inception.model import resize
from gan.scoring.extractors.network import golden
from gan.scoring.extractors.network.options import Options
from gan.study import canonical

PREPARED = ("architecture", "sha256", "side", "resampling", "mean", "std", "layer")  # what decides the features


def make(options: Options, training_images: Callable, device: str | torch.device) -> dict[str, Any]:
    """The weights that the layer needs and how images are prepared, after the golden check."""
    content = read(options)
    golden.compare(NetworkFeatures(content, device), options)
    return content


def load(content: dict[str, Any], device: str | torch.device) -> "NetworkFeatures":
    return NetworkFeatures(content, device)


def read(options: Options) -> dict[str, Any]:
    """What `make` keeps, without the golden check."""
    given = {key: value for key, value in vars(options).items() if value is not None and key != "name"}
    validate(given, registry.schema(registry.DECLARED)["additionalProperties"] | {"required": []}, options.section)
    path = options.place()
    if path is None:
        raise GanError(f"{options.section} names no file on this machine; fetch {options.url} and give its path")
    network, trunk = build(options.architecture, options.layer, options.section)
    state = renamed(read_state(path, options), options.keys or {}, options.section)
    needed = check_keys(state, network, trunk, f"{path} ({options.section})", options.architecture)
    kept = {key: getattr(options, key) for key in PREPARED} | {"mean": [*options.mean], "std": [*options.std]}
    return kept | {"name": options.name, "weights": {key: state[key].clone() for key in needed}}


def golden_numbers(spec: dict[str, Any], device: str | torch.device) -> list[float]:
    """What ``golden`` of the config is for the network that ``spec`` declares, with its ``name``."""
    options = registry.options(registry.DECLARED, spec)
    assert isinstance(options, Options)
    return golden.numbers(NetworkFeatures(read(options), device))


def build(architecture: str, layer: str, section: str) -> tuple[nn.Module, nn.Module]:
    """The whole network, and from its input to ``layer``, both with weights of no meaning."""
    # Only declared networks need it: no other extractor waits for this import.
    from torchvision.models import get_model
    from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

    with torch.random.fork_rng(devices=[]):
        quick = {"init_weights": False} if architecture == "inception_v3" else {}
        whole = get_model(architecture, weights=None, **quick)
    try:
        trunk = create_feature_extractor(whole.eval(), {layer: "features"}, suppress_diff_warning=True)
    except ValueError as error:
        last = get_graph_node_names(whole, suppress_diff_warning=True)[1][-6:]
        raise GanError(
            f"{section}.layer is {layer!r}, which {architecture} of torchvision does not have; its last ones are "
            f"{', '.join(last)}"
        ) from error
    return whole, trunk.eval()


def read_state(path: Path, options: Options) -> dict[str, Tensor]:
    """The tensors of the file. `GanError` if it is absent, another one, or no state."""
    if not path.is_file():
        raise GanError(f"{path}: no such file ({options.section}.path)")
    if (found := checksum(path)) != options.sha256:
        raise GanError(f"{path}: sha256 is {found}, but {options.section}.sha256 says {options.sha256}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (*DAMAGED, OSError) as error:
        raise GanError(f"{path}: torch.load(weights_only=True) cannot read it; save its state_dict alone") from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise GanError(f"{path}: not a dictionary of tensors; save its state_dict alone")
    return state


def renamed(state: dict[str, Tensor], keys: Mapping[str, str | None], section: str) -> dict[str, Tensor]:
    """``state`` under torchvision's keys: of each key the longest prefix in ``keys`` is replaced, or left out."""
    found, used = {}, set()
    for key, value in state.items():
        prefix = max((known for known in keys if key.startswith(known)), key=len, default=None)
        used.add(prefix)
        new = "" if prefix is None else keys[prefix]
        if new is not None:
            found[new + key.removeprefix(prefix or "")] = value
    if unused := [prefix for prefix in keys if prefix not in used]:
        raise GanError(f"{section}.keys has {unused[0]!r}, but no key of the file begins so; take it out")
    return found


def check_keys(
    state: dict[str, Tensor], network: nn.Module, trunk: nn.Module, place: str, architecture: str
) -> list[str]:
    """The keys that ``trunk`` needs. `GanError` if ``state`` lacks one, has one that ``network`` has not, or another
    shape."""
    known = network.state_dict()
    needed = {key: value for key, value in trunk.state_dict().items() if not key.endswith("num_batches_tracked")}
    if surplus := [key for key in state if key not in known]:
        raise GanError(
            f"{place}: has {len(surplus)} keys that {architecture} has not, such as {surplus[0]!r}; give their prefix "
            f"in keys"
        )
    if missing := [key for key in needed if key not in state]:
        raise GanError(
            f"{place}: lacks {len(missing)} keys of {architecture}, such as {missing[0]!r}; is it another network?"
        )
    for key, value in needed.items():
        if state[key].shape != value.shape:
            sizes = [" x ".join(map(str, of.shape)) for of in (state[key], value)]
            raise GanError(
                f"{place}: {key!r} is of {sizes[0]}, in {architecture} of {sizes[1]}; is it another network?"
            )
    return list(needed)


class NetworkFeatures:
    """Features float32 [N, dim] of uint8 images [N, H, W]."""

    def __init__(self, content: dict[str, Any], device: str | torch.device = "cpu"):
        self.name, self.device = content["name"], torch.device(device)
        prepared = {key: content[key] for key in PREPARED}
        digest = hashlib.sha256(canonical(prepared).encode()).hexdigest()[:8]
        self.id = f"network-{self.name}-{content['architecture']}-{digest}"
        self.side, self.resampling = content["side"], Image.Resampling[content["resampling"].upper()]
        _, trunk = build(content["architecture"], content["layer"], f"metrics.network.{self.name}")
        trunk.load_state_dict(content["weights"], strict=False)
        self.trunk = trunk.to(self.device, memory_format=torch.channels_last).requires_grad_(False)  # type: ignore
        shape = (1, 3, 1, 1)
        self.mean, self.std = (torch.tensor(content[key], device=device).reshape(shape) for key in ("mean", "std"))
        with torch.inference_mode():
            self.dim = self._features(np.zeros((1, 8, 8), np.uint8)).shape[1]

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.backends.cudnn.flags(allow_tf32=False):
            return in_full_batches(images, self.dim, self._features)

    def _features(self, images: NDArray[np.uint8]) -> Tensor:
        grey = resize(images, self.side, self.resampling)[:, None].to(self.device) / 255
        normalised = (grey - self.mean) / self.std
        found = self.trunk(normalised.contiguous(memory_format=torch.channels_last))["features"]
        return found.mean((2, 3)) if found.ndim == 4 else found.flatten(1)
