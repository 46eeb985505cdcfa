"""The instruments of a run: packet capture, and probes of the kernels' sockets."""
