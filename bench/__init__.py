"""The harness: cases, agreement, memory, interleaved times, records, and the command line."""

from lossbench.bench.quiet import leave_out_notice

leave_out_notice()

if __name__ == "bench":
    # asv imports its folder of benchmarks as a top-level package, here named bench.
    from lossbench.bench.suites.subject import use_installed

    use_installed()
