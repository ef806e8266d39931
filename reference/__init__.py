"""The definitions of the losses: one readable ``nn.Module`` per loss, never optimised.

The documents are five web pages, numbered 000 to 004, that print PyTorch code of these losses. Each
reference follows that code, or a paper. If the value of a document's code departs from its paper,
the paper's form is a loss of its own. The harness compares every implementation with the reference
in float64.

The catalogue imports each class from its module, so a new reference is one new file.
"""
