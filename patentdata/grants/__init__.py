"""Stage grants: the XML documents of patents, parsed into rows."""
