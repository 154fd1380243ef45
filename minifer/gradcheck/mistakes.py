"""The usual mistakes in a backward pass, and which of them explains a wrong gradient.

Each hypothesis is a function of the Evidence that undoes one mistake, or makes it: if that turns what backward
returned into the numeric gradient, or the numeric gradient into what backward returned, the mistake is likely found.
It returns a sentence, or None. They are tried in order, the most specific first; the first that fits is the guess.
"""

from dataclasses import dataclass

import numpy as np

from minifer.gradcheck import attention, formulas, masks, normalization, places, scale, terms, upstream, weights
from minifer.gradcheck.evidence import Evidence

HYPOTHESES = (
    scale.not_finite,
    scale.all_zero,
    masks.not_differentiable,
    masks.should_be_zero,
    terms.added_to_before,
    formulas.softmax_formula,
    formulas.log_softmax_formula,
    normalization.normalization_formula,
    attention.attention_formula,
    formulas.cross_entropy_formula,
    formulas.activation_formula,
    scale.sign_flipped,
    scale.constant_factor,
    places.swapped,
    places.transposed,
    places.flipped,
    places.reshaped,
    places.shifted,
    scale.constant_offset,
    upstream.ignores_dy,
    masks.wrong_mask,
    masks.inverted_mask_in_a_sum,
    masks.blocked_outputs,
    weights.other_array_changed,
    terms.passes_dy_through,
    upstream.operator_not_transposed,
    upstream.part_of_the_sum,
    upstream.dy_changed,
    upstream.wrong_activation_after,
    terms.missing_factor,
    upstream.reduced_elsewhere,
    upstream.wrong_factor_in_the_sum,
    masks.wrong_branch,
    terms.one_of_two_terms,
    weights.input_confused,
    weights.input_confused_in_a_product,
    terms.missing_multiple,
    upstream.overwritten_overlap,
    upstream.taken_from_elsewhere,
    scale.factor_along_axes,
    # What can be said when no mistake fits exactly:
    scale.nearly_right,
    places.wrong_at_some_indices,
    places.wrong_at_the_border,
    places.reordered,
    terms.does_not_cancel,
    upstream.not_linear_in_dy,
    terms.wrong_derivative,
)
# Those that only compare two arrays serve where there is no layer to measure, or one too large.
WITHOUT_MEASURING = tuple(
    hypothesis for hypothesis in HYPOTHESES if hypothesis.__module__ in (scale.__name__, places.__name__)
)
SHAPES = (places.transposed_shape, places.kept_dimensions, places.not_summed)


@dataclass(frozen=True)
class Guess:
    """A likely mistake: the name of the hypothesis that fits, and a sentence."""

    mistake: str
    text: str

    @property
    def unknown(self):
        """Whether no hypothesis fitted."""
        return self.mistake == "unknown"

    def __str__(self):
        return f"{'no guess' if self.unknown else 'likely'}: {self.text}"


def unknown(evidence):
    """Return the Guess that says how much is right, where no hypothesis fits."""
    right = np.mean(~evidence.wrong)
    return Guess("unknown", f"none of the usual mistakes; {right:.0%} of the entries are right")


def guess(evidence):
    """Return the Guess of the first hypothesis that explains the wrong gradient."""
    return _first(HYPOTHESES if evidence.small else WITHOUT_MEASURING, evidence) or unknown(evidence)


def guess_of_shape(evidence):
    """Return "; likely: ..." for a gradient of another shape than its array, or an empty string."""
    found = _first(SHAPES, evidence) or (evidence.small and _first((upstream.reduced_elsewhere,), evidence))
    return f"; {found}" if found else ""


def _first(hypotheses, evidence):
    with np.errstate(all="ignore"):  # a hypothesis may divide by the zeros of a wrong gradient
        for hypothesis in hypotheses:
            text = hypothesis(evidence)
            if text:
                return Guess(hypothesis.__name__, text)
    return None


__all__ = ["Evidence", "Guess", "guess", "guess_of_shape"]
