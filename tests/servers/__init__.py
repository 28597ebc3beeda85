"""Real servers for tests, as pytest plugins; the root conftest loads them."""
