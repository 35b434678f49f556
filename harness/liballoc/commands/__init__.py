"""One module a command; liballoc.cli has the list."""
