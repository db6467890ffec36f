"""Alluxio: tables behind its proxy's S3 endpoint, and what only Alluxio can do: load, free, pin, short circuit."""
