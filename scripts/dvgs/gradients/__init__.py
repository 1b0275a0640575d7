"""The gradients of samples, compared with a target's: exact, and without forming one gradient a sample."""

from dvgs.gradients.engine import GradientSimilarity, similarity
from dvgs.gradients.layers import register_rule

__all__ = ["GradientSimilarity", "register_rule", "similarity"]
