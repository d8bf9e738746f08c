"""US design patents as training data: archives, grants, views, captions, dataset."""
