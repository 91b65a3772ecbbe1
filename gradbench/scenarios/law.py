"""What theory predicts of a scenario, as numbers beside which measured ones can be put."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Law:
    """A prediction for one scenario at its setting.

    `quantity` is what is predicted, of whom: `predicted` is its number at this setting, None where
    the law has none. `axis` names the setting's field along which the law speaks, `exponent` the
    power of it with which the quantity grows; empty and None where there is none. `in_evaluations`
    says whether the quantity is evaluations to the target, which every record measures. `source`
    is where it is proven.
    """

    quantity: str
    predicted: float | None
    source: str
    axis: str = ""
    exponent: float | None = None
    in_evaluations: bool = False
