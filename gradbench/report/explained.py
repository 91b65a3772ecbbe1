"""What the built-in scenarios ask, and what the probes' readings mean, in words for readers."""

PAPER = "https://arxiv.org/abs/1703.07950"
"""S. Shalev-Shwartz, O. Shamir, S. Shammah, Failures of Gradient-Based Deep Learning, ICML 2017."""

TASKS = {
    "parity": "Tell whether an even or odd number of the bits in an unknown subset are set, from "
    "random bits and their labels.",
    "periodic": "Fit a wave along an unknown direction, from normally distributed inputs.",
    "line-tuples": "Say whether an even or odd number of a tuple's line images slope upwards, "
    "from labels of the whole tuple; decomposed, from a label per image.",
    "allocation": "Divide an investment over k stocks, from one noisy outcome at a time; "
    "decomposed, each stock is rated by itself.",
    "curves": "Recover slopes and kinks of a piecewise-linear curve from its values, through one "
    "of four architectures; the better conditioned, the faster.",
    "steps": "Fit a function that is constant but for jumps, where the derivative is zero almost "
    "everywhere.",
    "saturation": "Train a network whose units begin in the flat part of their activations.",
    "chain": "Bring a product of weights to 1, where each weight's gradient is multiplied by all "
    "others.",
    "zipf": "Learn a number per word, where the k-th word is k times rarer than the first.",
    "blocks": "Minimise a quadratic of three blocks of very different curvature, along the "
    "coordinates or rotated.",
    "leap": "Learn a polynomial of three unknown bits, whose monomials build on each other or not.",
    "heavy-tails": "Find the minimum of a quadratic from noisy gradients; the noise may have "
    "infinite variance.",
}
"""The task of each built-in scenario in a sentence."""

READINGS = {
    "signal of the target": "the share of the gradient that depends on the target; higher is "
    "better, at 0 the gradient is the same whatever is to be learned",
    "variance over targets": "how much the gradient varies from target to target, relative to its "
    "size; higher is better",
    "signal-to-noise ratio": "the squared mean of the gradient over its variance between batches; "
    "higher is better, far below 1 a step is mostly noise",
    "second moment": "the mean square of the gradient; by itself neither good nor bad",
    "effective condition number": "the ratio of the largest to the smallest curvature that "
    "matter; lower is better, gradient descent takes about that many steps",
    "gain of the backward message": "the factor by which the gradient grows or shrinks on its way "
    "back through the network; near 1 is best, at 0 the first layers learn nothing",
    "alignment in parameters": "the cosine between the step against the gradient and the way to "
    "the solution, in parameters; higher is better, at 0 it leads nowhere",
    "alignment in function": "the cosine between the change of outputs by that step and the change "
    "that is wanted; higher is better",
}
"""What each probe measures, and which way is good."""


def task(scenario: str) -> str:
    """Return the task of a built-in scenario in a sentence; empty for others'."""
    return TASKS.get(scenario, "")


def meaning(probe: str) -> str:
    """Return what a probe's reading means; empty for others'. A part's is that of the whole."""
    found = (text for name, text in READINGS.items() if probe.startswith(name))
    return next(found, "")


def link(section: str) -> str:
    """Return the paper's address for a section of it; empty where there is none."""
    return PAPER if section[:1].isdigit() else ""
