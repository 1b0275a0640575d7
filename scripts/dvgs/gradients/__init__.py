"""The gradients of samples, compared with a target's: exact, and without forming one gradient a sample."""

from dvgs.gradients.engine import GradientSimilarity, similarity

__all__ = ["GradientSimilarity", "similarity"]
