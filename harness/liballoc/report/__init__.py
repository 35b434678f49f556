"""What a command shows on the terminal."""
