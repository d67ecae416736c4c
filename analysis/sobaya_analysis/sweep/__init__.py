"""Reports over sweeps: what the runs of a grid came to, with medians and bands over seeds."""
