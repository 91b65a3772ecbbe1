"""Probes: measures of how informative gradients are, from the paper, each with its own error.

A probe evaluates a float64 copy of the network and returns a `Reading`, or the record from which
a reading is made (`Flatness`, `ParityProfile`, `Spectrum`). `condition_number`, of a matrix, and
`published_signal_to_noise` return a plain number. `docs/probes.md` describes the range and the
limits of each probe.
"""

from gradbench.probes.alignment import (
    alignment_in_function,
    alignment_in_parameters,
    gradient_alignment,
)
from gradbench.probes.curvature import (
    Spectrum,
    condition_number,
    effective_condition_number,
    spectrum,
)
from gradbench.probes.flatness import Flatness, flatness, gain
from gradbench.probes.parities import ParityProfile, parity_profile, parity_variance
from gradbench.probes.reading import Reading
from gradbench.probes.signal import batches_signal_to_noise, second_moment, signal_to_noise
from gradbench.probes.target import target_signal
from gradbench.probes.tuple_signal import published_signal_to_noise
from gradbench.probes.variance import variance_over_targets

__all__ = [
    "Flatness",
    "ParityProfile",
    "Reading",
    "Spectrum",
    "alignment_in_function",
    "alignment_in_parameters",
    "batches_signal_to_noise",
    "condition_number",
    "effective_condition_number",
    "flatness",
    "gain",
    "gradient_alignment",
    "parity_profile",
    "parity_variance",
    "published_signal_to_noise",
    "second_moment",
    "signal_to_noise",
    "spectrum",
    "target_signal",
    "variance_over_targets",
]
