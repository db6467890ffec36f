"""One room per framework: datasets in its own habits, over the client."""
