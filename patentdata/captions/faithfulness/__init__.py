"""Faithfulness: whether a caption contradicts what the grant says, or says what a line drawing cannot show."""
