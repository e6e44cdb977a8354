"""The commands of `deeplab` other than fit, validate, test and predict."""
