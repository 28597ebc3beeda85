"""Both connectors under one name, for the conformance kit."""
