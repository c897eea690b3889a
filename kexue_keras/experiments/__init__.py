"""What the recipes share and no article is about."""
