"""What a model is, wherever it is: tensors and files, as rows of its table and as bytes of a safetensors file.

It stands outside the rooms because the client makes the rows of a model and maps its file, the store checks the rows,
and the sidecar makes the file of them. Specified in docs/format/models.md.
"""
