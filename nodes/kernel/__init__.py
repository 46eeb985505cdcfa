"""Interfaces to the Linux kernel: BPF, netlink, namespaces, offloads."""
