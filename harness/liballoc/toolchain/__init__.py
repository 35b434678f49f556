"""The Zig compiler: where it is, what is built with it, how it is run."""
