"""Orograph measures and maps the loss landscapes of neural networks."""
