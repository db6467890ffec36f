"""TensorFlow on versions that a sidecar keeps hot, and on plain files in Alluxio."""

from alluxio_lance.client.models.watching import Swap
from alluxio_lance.frameworks.tf.dataset import Dataset
from alluxio_lance.frameworks.tf.gfile import gfile_path
from alluxio_lance.frameworks.tf.models import load_model, save_model, version_model
from alluxio_lance.frameworks.tf.models.watcher import ModelWatcher
from alluxio_lance.frameworks.tf.records import TFRecordDataset

__all__ = [
    "Dataset",
    "ModelWatcher",
    "Swap",
    "TFRecordDataset",
    "gfile_path",
    "load_model",
    "save_model",
    "version_model",
]
