"""The harness: cases, agreement, memory, interleaved times, records, and the command line."""

if __name__ == "bench":
    # asv imports its folder of benchmarks as a top-level package, here named bench.
    from lossbench.bench.suites.subject import use_installed

    use_installed()
