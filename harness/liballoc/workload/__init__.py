"""Real programs described by TOML files, and how they are run with and without the library."""
