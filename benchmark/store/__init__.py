"""Results on disk: finished units, units under way, archives, round trips, alignment."""
