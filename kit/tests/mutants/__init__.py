"""Connectors that are broken on purpose, one way each; the conformance kit must refuse every one of them.

All are small variations of the connector in `reference.py`, which is correct. `catalogue.py` lists them,
and the test of the kit that catches each.
"""
