"""The conductor: from a network and its data to one bundle with a verdict, station by station."""
