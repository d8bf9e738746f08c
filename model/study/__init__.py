"""Studies: arms that differ in named settings, trained and measured alike, and a verdict for each claim about them."""
