"""From catalogue files to batches of token ids."""
