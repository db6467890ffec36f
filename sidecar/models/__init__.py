"""Models in shared memory: their tensors as one safetensors file, their files as another.

Specified in docs/format/segments.md.
"""
