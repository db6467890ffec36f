"""``python -m alluxio_lance.cli`` is the command, for those who must name their interpreter."""

from alluxio_lance.cli.entry import main

main()
