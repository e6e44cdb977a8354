"""The page of `deeplab export --format html`, which segments pictures in the reader's own browser."""
