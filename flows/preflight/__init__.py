"""What is looked at before a run: the machine, the source, the data folder, and what a rebuild will take."""
