"""The gRPC face of the sidecar: the services Lifecycle and Cache."""
