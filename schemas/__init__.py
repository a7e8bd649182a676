"""The contract between processes: records, topics, timeline, units, settings, errors. Everyone may import it; it imports nobody."""
