"""`inv data.*`: snapshots of an instance's data, and replacing it by one, by another instance's or by nothing."""
