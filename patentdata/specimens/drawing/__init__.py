"""Drawing of specimens: projection, pen, figures and sheets."""
