"""Making links as slow, far and lossy as the topology says: in the links themselves (`paced`), in
the kernel (`netem`), or in a router of our own (`relay`).

choice     which of them this machine can do
network    an emulated network: a namespace for every node, joined by netem or relay
measure    what such a network really does to packets
cgroups    devices' memory and cores, kept by the kernel
record     what it has made in the kernel, and how that is removed after a crash
"""
