"""The harness: cases, agreement, memory, interleaved times, records, and the command line."""
