"""One node, built from the topology and its name: links, model, data, meters, and its role."""
