"""The wire contract: generated stubs of ``alluxio_lance.v1``; ``proto/generate`` writes them."""
