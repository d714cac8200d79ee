"""Components as a graph: what one is, how many are started and stopped together, when one is ready."""
