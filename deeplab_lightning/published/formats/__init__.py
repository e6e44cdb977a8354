"""Readers of the files in which TensorFlow and Caffe keep weights; neither is needed, and nothing is executed."""
