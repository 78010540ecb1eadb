"""Benchmarks, one file per question; each prints the figures of one run on one machine."""

# For glibc, to keep no large blocks that were given back, nor a heap for each thread: how many of them it keeps is
# chance, tens of megabytes of it.
PLAIN_MALLOC = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "1000000"}
