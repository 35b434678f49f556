"""Results as JSON files."""
