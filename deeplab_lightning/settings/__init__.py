"""Settings as they are given, and what is wrong with them."""
