"""The controller as a program: it keeps each switch equal to the pipeline's answer."""
