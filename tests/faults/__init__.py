"""What goes wrong: damaged images, disks that fail, workers that are killed, people who type the wrong name."""
