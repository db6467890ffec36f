"""The domain: URIs, versions, states and the manager that drives catalog and storage through small ports."""
