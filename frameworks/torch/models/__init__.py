"""Models in PyTorch: state dicts on the node's shared memory, and modules saved as versions."""
