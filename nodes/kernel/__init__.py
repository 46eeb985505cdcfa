"""What is asked of the Linux kernel: BPF, netlink, namespaces, offloads."""
