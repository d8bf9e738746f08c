"""Drawing specimens: projection, pen, figures and sheets."""
