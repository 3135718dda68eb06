"""The only door to PostgreSQL: plural nouns, their SQL beside."""
