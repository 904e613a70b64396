"""What a run leaves behind, computed from the event files of its nodes and from nothing else."""
