"""What base and aligned say: scores, samples, evaluation."""
