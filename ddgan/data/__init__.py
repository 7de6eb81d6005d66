"""What x_0 is: toy laws, tables of points, and sets of images."""
