"""Models of Keras and TensorFlow: saved as versions, loaded on the memory that all processes of a node share."""

from alluxio_lance.client.models.versioning import version_model
from alluxio_lance.frameworks.tf.models.loading import load_model
from alluxio_lance.frameworks.tf.models.saving import save_model

__all__ = ["load_model", "save_model", "version_model"]
