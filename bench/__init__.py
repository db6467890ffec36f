"""The benchmark: samples per second beside other ways to feed a training loop, measured in one run on one machine."""
