"""What spans distributions. A package, because PyRSMQ installs a `tests` of its own, which would win otherwise."""
