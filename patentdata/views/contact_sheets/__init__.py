"""A page of split sheets for visual inspection."""
