"""Spectral density by stochastic Lanczos quadrature."""
