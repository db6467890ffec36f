"""The command `alluxio-lance`: everything that people do with the system from a terminal."""
