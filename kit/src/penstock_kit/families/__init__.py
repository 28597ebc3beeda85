"""The families of promises that the suite tests, one module each."""
