"""Pure: values in, values out. No Ray, no files, no clock, no global random state."""
