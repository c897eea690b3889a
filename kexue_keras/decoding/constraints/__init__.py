"""What limits the texts of a beam search."""
