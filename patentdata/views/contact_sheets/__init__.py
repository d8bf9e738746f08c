"""A page that shows split sheets to a person."""
