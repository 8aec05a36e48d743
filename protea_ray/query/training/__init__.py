"""What training jobs read: records joined to vectors and labels at one pin, as a torch or a Ray data set."""
