"""The record of a run, which is the input of the analysis, and its file formats."""
