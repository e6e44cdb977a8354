"""The page of `deeplab serve`: trained models that segment a visitor's pictures."""
