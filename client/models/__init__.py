"""Models as every framework shares them: mapped from the sidecar's memory, saved as rows, named and promoted."""
