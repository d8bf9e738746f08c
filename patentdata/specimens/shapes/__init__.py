"""The articles that specimens show."""
