"""Stage grants: the XML of patents, parsed into rows."""
