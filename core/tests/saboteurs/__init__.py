"""Connectors that are broken on purpose, one way each; the conformance kit must refuse every one of them.

All are small variations of the connector in `sound.py`, which is correct. `cast.py` says who does what, and which test
of the kit catches it.
"""
