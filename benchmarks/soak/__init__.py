"""A soak: a week's load with faults, compressed, and whether memory, descriptors, threads, queue and latency stay flat."""
