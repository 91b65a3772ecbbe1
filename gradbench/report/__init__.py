"""Records to what people read. Knows records and statistics only."""
