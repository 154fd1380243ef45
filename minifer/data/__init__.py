"""From archives of pictures to mini-batches."""
