"""The harness: cases, agreement, memory, interleaved times, records, and the command line."""

if __name__ == "bench":
    # asv imports the folder of its benchmarks under the folder's own name.
    from lossbench.bench.suites.subject import use_installed

    use_installed()
