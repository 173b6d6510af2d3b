"""What files are and what is made of them: kinds, decoding, renditions."""
