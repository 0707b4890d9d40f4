"""A soak: load with faults for so many minutes, and whether memory, descriptors, threads, queue and latency stay flat."""
