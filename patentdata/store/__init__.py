"""The data folder: files, hashes, Parquet, schemas, reports and the state of each week."""
