"""Settings: given, composed, completed with their defaults, and explained where they are wrong."""
