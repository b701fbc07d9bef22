"""What a person meets: the Textual application and the command line, both called `rescue`."""
