"""What a host may write under `orienter:`: shape, defaults, reading, rules across keys."""
