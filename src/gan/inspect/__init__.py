"""What lies in a folder of images, or in a configured data set, before anything is trained. Needs no torch."""
