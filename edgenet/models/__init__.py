"""Models as lists of layers that can be cut anywhere, and the stages that train them."""
