"""Plain files in Alluxio's namespace, for servers and training processes alike: found, listed, read by the nearest way."""
