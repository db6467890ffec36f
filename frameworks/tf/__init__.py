"""TensorFlow on versions that a sidecar keeps hot."""

from alluxio_lance.frameworks.tf.dataset import Dataset

__all__ = ["Dataset"]
