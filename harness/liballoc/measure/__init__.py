"""What is measured of running programs, and what the figures say."""
