"""Every file system on every kind of table, captured and restored for real."""
