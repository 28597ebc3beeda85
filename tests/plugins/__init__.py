"""Plugins as real installed distributions: sound ones, and every way to be broken."""
