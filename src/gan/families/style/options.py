"""The options of style transfer."""

from dataclasses import dataclass
from typing import Any, ClassVar

from gan.errors import GanError
from gan.families.options import Options, option

OWN = "indomain"  # the encoder of the data set's own, which judges too


@dataclass(frozen=True)
class StyleOptions(Options):
    """Neural style transfer (Gatys et al. 2016) between training images and the images of another row."""

    TASK: ClassVar[str] = "either"
    TRAINED: ClassVar[bool] = False
    REVISION: ClassVar[int] = 1

    of: str = option("", "variant whose images are one of the two sides: the cell of the same data set and seed")
    content: str = option(
        "real", "real: anatomy of a training image, style of a generated one", choices=("real", "generated")
    )
    n: int = option(300, "images to make, each with another training image", low=2)
    conditional: bool = option(False, "both sides of an image are of one class; as `of` has it")
    features: str = option("vgg19", "extractor whose feature maps are compared: vgg19, or indomain without its file")
    content_layers: tuple[str, ...] = option((), "maps whose values are those of the content; empty: as published")
    style_layers: tuple[str, ...] = option((), "maps whose Gram matrices are those of the style; empty: as published")
    content_weight: float = option(0.001, "of the content's loss, a sum of squares", low=0)
    style_weight: float = option(1.0, "of the style's loss, a mean over its layers", low=0)
    pool: str = option("avg", "in the place of the max pooling of vgg19", choices=("avg", "max"))
    start: str = option("content", "what is changed step by step", choices=("content", "noise"))
    optimizer: str = option("lbfgs", "with a strong Wolfe line search, or Adam", choices=("lbfgs", "adam"))
    steps: int = option(300, "evaluations of the loss at most", low=1)
    lr: float = option(0.05, "of Adam, where black to white is 2", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.content_weight and not self.style_weight:
            raise GanError("options content_weight and style_weight are both 0; set one of them above 0")

    def works_on(self) -> str | None:
        return self.of

    def encoder(self) -> str | None:
        return self.features

    def feature_maps(self) -> tuple[str, ...]:
        return (*self.content_layers, *self.style_layers)

    def shows_patients(self, translates: bool) -> bool:
        return translates or self.content == "real"

    def no_contest(self, translates: bool) -> str:
        """See `Options.no_contest`; what was fitted to features of the judge is not judged by them."""
        if self.shows_patients(translates):
            return "shows patients"
        return "fitted to the judge's features" if self.features == OWN else ""

    def about(self, translates: bool) -> dict[str, Any]:
        return {"content": self.content, "anonymous": not self.shows_patients(translates)}

    def without_effect(self) -> dict[str, str]:
        idle = {} if self.optimizer == "adam" else {"lr": "optimizer is lbfgs"}
        if not self.content_weight:
            idle["content_layers"] = "content_weight is 0"
        if not self.style_weight:
            idle["style_layers"] = "style_weight is 0"
        if self.features == OWN:
            idle["pool"] = "features is indomain, which has no pooling"
        return idle
