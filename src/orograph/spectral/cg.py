"""Conjugate gradients on (A + shift·I)x = b."""
