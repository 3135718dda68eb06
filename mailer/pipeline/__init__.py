"""The path, step by step: gerunds that read, decide and write."""
