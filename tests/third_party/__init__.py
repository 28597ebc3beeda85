"""What strangers write: the plugin that `penstock new` generates, and one that was written from the manual."""
