"""TensorFlow on versions that a sidecar keeps hot, and on plain files in Alluxio."""

from alluxio_lance.frameworks.tf.dataset import Dataset
from alluxio_lance.frameworks.tf.gfile import gfile_path
from alluxio_lance.frameworks.tf.records import TFRecordDataset

__all__ = ["Dataset", "TFRecordDataset", "gfile_path"]
