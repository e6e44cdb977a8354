"""Readers of TensorFlow's and Caffe's weight files, which need neither framework and execute nothing."""
