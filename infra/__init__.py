"""How the whole is run: command line, local supervisor, Kafka, topics, dashboards. Nothing imports this package."""
