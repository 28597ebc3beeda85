"""Penstock's connector `timer`: an input that ticks."""

__version__ = "0.1.0"
