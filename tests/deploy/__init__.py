"""What deploy/ holds, read as its readers do: the image, manifests, scripts, and the commands in them."""
