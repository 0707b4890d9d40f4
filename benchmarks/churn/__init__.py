"""What a queue leaves behind in the tables and indexes of PostgreSQL."""
