"""What the documents and papers say: one readable ``nn.Module`` a loss, never optimised.

The documents are five web pages, numbered 000 to 004, that print PyTorch code of these losses; each
reference is faithful to that code. Where its value departs from that of its paper, the
paper's form is a loss of its own. The harness takes the references in float64 for the truth.

The catalogue imports each class from its module, so that a new reference is one new file.
"""
