"""Third-party plugins: the one that `penstock new` generates, and one that was written from the manual."""
