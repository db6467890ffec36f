"""What a training process loads: the way to the sidecar of its node, leases, and columns in mapped memory."""
