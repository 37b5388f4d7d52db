"""One connector for each wire language, and the seam to the network."""
