"""What the scripts of the bench share: people, blasts, a receiver, workers, a floor."""
