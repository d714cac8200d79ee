"""`inv worktree.*`: make, list and remove worktrees with everything that belongs to them."""
