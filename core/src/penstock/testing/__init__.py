"""For tests: the conformance kit, `penstock.testing.conformance`, which every connector passes."""
