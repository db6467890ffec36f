"""A process that appends 20 rows to datasets/a, one update each. Arguments: root, first number."""

import sys

import pyarrow as pa

import alluxio_lance as al

with al.ResourceManager.embedded(sys.argv[1]) as manager:
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    sys.stdin.readline()
    for number in range(int(sys.argv[2]), int(sys.argv[2]) + 20):
        manager.update_resource("datasets", "a", pa.table({"id": [number]}), message=str(number))
