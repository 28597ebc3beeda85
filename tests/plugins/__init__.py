"""Plugins as really installed distributions: a working one, and one for each way to be broken."""
