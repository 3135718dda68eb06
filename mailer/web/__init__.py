"""The only door to HTTP: tracking, unsubscribe, hooks, operations."""
