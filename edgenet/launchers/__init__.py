"""What starts the nodes of a run, and sees them to their end."""
